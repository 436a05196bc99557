"""Read which data sets and generators a reproduction takes, and check them before anything runs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError
from raymetrics.generators import open_source
from raymetrics.generators.base import Generator, require_latent_generator
from raymetrics.generators.snapshot_files import SnapshotWatch
from raymetrics.permissions import Permission
from raymetrics.studies.papers.recipes import MINI, Recipe
from raymetrics.weights.locate import file_sha256

PATTERNS = ("snapshots", "truncations")  # roles of several sources, as 'runs/*.pkl'
_FACTS_FILE = Path(__file__).with_name("inputs.toml")


@dataclass(frozen=True)
class Input:
    """A source that the user names. sha256: of its file, where it is known."""

    source: str
    sha256: str | None = None


@dataclass(frozen=True)
class Inputs:
    """The inputs by data set and role. file: where they are from, for messages."""

    by_dataset: Mapping[str, Mapping[str, Input]]
    file: str

    def roles_of(self, dataset: str) -> Mapping[str, Input]:
        """Return the inputs of a data set by role; none for a data set that is not named."""
        return self.by_dataset.get(dataset, {})


@cache
def load_facts() -> Mapping[str, Mapping[str, Any]]:
    """Return what is known of every input, by data set and role."""
    return tomllib.loads(_FACTS_FILE.read_text(encoding="utf-8"))


def mini_inputs() -> Inputs:
    """Return the parts of the demo as inputs."""
    roles = {
        role: Input(fact["source"]) for role, fact in load_facts()[MINI].items() if role != "about"
    }
    return Inputs({MINI: roles}, str(_FACTS_FILE))


def read_inputs(path: str) -> Inputs:
    """Read a file of inputs. RaymetricsError if it cannot be read, or names unknown inputs."""
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RaymetricsError(
            f"cannot read inputs from {path}: {error}; make a template with: raymetrics reproduce "
            "--inputs-template"
        ) from None
    return Inputs(
        {dataset: _parse_roles(dataset, roles, path) for dataset, roles in document.items()}, path
    )


def _parse_roles(dataset: str, roles: object, path: str) -> dict[str, Input]:
    """Return the inputs of one table. RaymetricsError if it, or one of its roles, is not known."""
    known = {name: set(facts) - {"about"} for name, facts in load_facts().items() if name != MINI}
    if dataset not in known or not isinstance(roles, Mapping):
        raise RaymetricsError(f"{path} has {dataset!r}; expected tables {', '.join(known)}")
    inputs = {}
    for role, entry in roles.items():
        values = {"source": entry} if isinstance(entry, str) else entry
        texts = isinstance(values, Mapping) and all(isinstance(v, str) for v in values.values())
        if role not in known[dataset] or not texts or "source" not in values:
            raise RaymetricsError(
                f"{path}: [{dataset}] {role} is {entry!r}; expected one of "
                f'{", ".join(sorted(known[dataset]))}, as "SOURCE" or '
                '{ source = "SOURCE", sha256 = "..." }'
            )
        inputs[role] = Input(values["source"], values.get("sha256"))
    return inputs


def template_text() -> str:
    """Return a file of inputs to be filled in: what each is, where it comes from, its licence."""
    lines = [
        "# Inputs of `raymetrics reproduce`. Name those that you have; items without theirs are"
    ]
    lines += ["# left out. A source is written as for `raymetrics extract`.", ""]
    for dataset, facts in load_facts().items():
        if dataset == MINI:
            continue
        lines += [f"[{dataset}]  # {facts['about']}"]
        for role, fact in facts.items():
            if role != "about":
                lines += [f"# {fact['what']}", f"# from {fact['from']}; licence: {fact['licence']}"]
                lines += [f'# {role} = "PATH"', ""]
    return "\n".join(lines)


class InputChecks:
    """Finds what is wrong with the inputs of items, opening each input once for all items."""

    def __init__(self, inputs: Inputs, permission: Permission) -> None:
        self.inputs, self.permission = inputs, permission
        self._problems: dict[tuple[str, str, bool], list[str]] = {}

    def find_problems(self, recipe: Recipe, dataset: str) -> list[str]:
        """Return what keeps an item from running: inputs that are missing, or not what it needs."""
        return [
            problem
            for role in recipe.roles
            for problem in self._find_in_role(dataset, role, role in recipe.latents)
        ]

    def _find_in_role(self, dataset: str, role: str, latents: bool) -> list[str]:
        """Return what is wrong with one input; latents: it must be a latent generator."""
        present = self.inputs.roles_of(dataset)
        if role not in present:
            return [f"{self.inputs.file} names no {role} of [{dataset}]"]
        key = (dataset, role, latents)
        if key not in self._problems:
            facts = load_facts()[dataset][role]
            try:
                found = list(_problems_of(present[role], role, facts, latents, self.permission))
            except RaymetricsError as error:
                found = [f"[{dataset}] {role}: {error}"]
            self._problems[key] = found
        return self._problems[key]


def _problems_of(
    entry: Input, role: str, facts: Mapping[str, Any], latents: bool, permission: Permission
) -> Iterator[str]:
    """Yield what is wrong with one input. RaymetricsError if it cannot be opened."""
    from raymetrics.distributed.devices import worker_device  # loads torch

    if role in PATTERNS:
        SnapshotWatch([entry.source]).poll(settled=False)
        return
    permission.require_source(entry.source, "the file of inputs")
    path = Path(option_strings.parse_options(entry.source)[0])
    digest = entry.sha256 or facts.get("sha256")
    if digest and path.is_file() and file_sha256(path) != digest:
        yield f"{path} has another SHA-256 than {digest[:12]}...; copy it again"
    generator = open_source(entry.source, worker_device())
    if latents:
        require_latent_generator(generator)
    if "count" in facts and generator.length != facts["count"]:
        yield f"{entry.source} has {generator.length} images, expected {facts['count']}"
    if "resolution" in facts:
        yield from _size_problems(entry.source, generator, facts["resolution"])


def _size_problems(source: str, generator: Generator, resolution: int) -> Iterator[str]:
    """Yield that the first image is of another size than the paper's."""
    import numpy as np

    size = tuple(generator(np.zeros(1, np.int64)).shape[2:])
    if size != (resolution, resolution):
        yield f"{source} gives images of {size[0]} x {size[1]}, expected {resolution}"
