"""Read the recipes of the papers' tables and figures, one file a paper, and fill in their names.

A recipe has steps (commands of raymetrics), cells (which result is which number of the paper),
series (which results are a curve), figures, and claims (what the paper says of them). Texts contain
names in braces, such as {real} and {n}, which stand for inputs, folders and settings.
"""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from raymetrics.errors import RaymetricsError

_FOLDER = Path(__file__).parent
PAPER_FILES = ("p1.toml", "p2.toml")
MINI = "mini"  # the data set that stands for the parts of the demo


@dataclass(frozen=True)
class Query:
    """Which results of a file are meant: those whose fields have these values.

    file: with names in braces. where: dotted names of fields, such as "subset.scheme", and values.
    """

    file: str
    where: Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A number of a paper, and the result that is the same number here.

    path: the dotted name of the result's field. times: a factor, as 1000 for KID.
    paper, deviation: what the paper prints, by data set. protocol: the name of the protocol by
    which the paper computed it.
    """

    name: str
    query: Query
    path: str = "value"
    times: float = 1
    paper: Mapping[str, float] = field(default_factory=dict)
    deviation: Mapping[str, float] = field(default_factory=dict)
    protocol: str | None = None


@dataclass(frozen=True)
class Series:
    """A curve: a value of every result of a query, by a field of the result, as its amount.

    key: the field. default: the key of results without that field, as 1 of what is not truncated.
    """

    name: str
    query: Query
    key: str
    path: str = "value"
    default: float | None = None


@dataclass(frozen=True)
class Claim:
    """What a paper says of its numbers, and the check by which the same is true here.

    check: the name of a function of `claims`. of: names of cells or series. options: numbers of the
    check. mini: why the claim cannot be expected of the demo's parts, or cannot be checked there.
    """

    sentence: str
    check: str
    of: tuple[str, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    mini: str = ""
    skip_mini: bool = False


@dataclass(frozen=True)
class Recipe:
    """How to make one table or figure of a paper."""

    name: str  # "p2-table1"
    paper: str  # the title of the paper
    title: str
    caption: str
    datasets: tuple[str, ...]
    roles: tuple[str, ...]  # of the inputs
    latents: tuple[str, ...]  # roles that must be generators with latents
    steps: tuple[str, ...]
    cells: tuple[Cell, ...]
    series: tuple[Series, ...]
    figures: tuple[Mapping[str, Any], ...]
    claims: tuple[Claim, ...]
    settings: Mapping[str, Mapping[str, str]]  # by data set, and "paper" for all but the mini
    protocols: Mapping[str, Mapping[str, Any]]

    def settings_of(self, dataset: str) -> dict[str, str]:
        """Return the settings of a data set: those of the paper with its own changes."""
        if dataset == MINI:
            return dict(self.settings[MINI])
        return {**self.settings["paper"], **self.settings.get(dataset, {})}


@cache
def load_recipes() -> Mapping[str, Recipe]:
    """Return all recipes by name, in the order of the papers."""
    recipes: dict[str, Recipe] = {}
    for file in PAPER_FILES:
        recipes |= parse_paper(tomllib.loads((_FOLDER / file).read_text(encoding="utf-8")))
    return recipes


def find_recipes(name: str) -> list[Recipe]:
    """Return the recipe of a name, or all of them for "all". RaymetricsError for another name."""
    recipes = load_recipes()
    if name == "all":
        return list(recipes.values())
    if name not in recipes:
        raise RaymetricsError(f"no item {name!r}; there are all, {', '.join(recipes)}")
    return [recipes[name]]


def parse_paper(document: Mapping[str, Any]) -> dict[str, Recipe]:
    """Return the recipes of a paper's file by name. KeyError or TypeError if the file is wrong."""
    return {name: _parse_recipe(name, item, document) for name, item in document["items"].items()}


def _parse_recipe(name: str, item: Mapping[str, Any], document: Mapping[str, Any]) -> Recipe:
    """Return one recipe; `same_as` names another item, whose entries it takes where it has none."""
    item = {**document["items"].get(item.get("same_as"), {}), **item}
    shared_steps = document["steps"]
    own_settings = item.get("settings", {})
    settings = {
        key: {**document["settings"].get(key, {}), **own_settings.get(key, {})}
        for key in document["settings"].keys() | own_settings.keys()
    }
    roles = tuple(item["roles"])
    return Recipe(
        name=name,
        paper=document["title"],
        title=item["title"],
        caption=item["caption"],
        datasets=tuple(item.get("datasets", document["datasets"])),
        roles=roles,
        latents=tuple(item.get("latents", ())),
        steps=tuple(shared_steps.get(step, step) for step in item["steps"]),
        cells=tuple(_parse_cell(cell) for cell in item.get("cells", ())),
        series=tuple(_parse_series(series) for series in item.get("series", ())),
        figures=tuple(item.get("figures", ())),
        claims=tuple(_parse_claim(claim) for claim in item.get("claims", ())),
        settings=settings,
        protocols=document["protocols"],
    )


def _parse_query(entry: dict[str, Any]) -> Query:
    return Query(entry.pop("file", "{item}/results.jsonl"), entry.pop("where"))


def _parse_cell(entry: Mapping[str, Any]) -> Cell:
    values = dict(entry)
    query = _parse_query(values)
    return Cell(query=query, **values)


def _parse_series(entry: Mapping[str, Any]) -> Series:
    values = dict(entry)
    query = _parse_query(values)
    return Series(query=query, **values)


def _parse_claim(entry: Mapping[str, Any]) -> Claim:
    values = dict(entry)
    known = {name: values.pop(name) for name in ("sentence", "check", "of")}
    texts = {name: values.pop(name) for name in ("mini", "skip_mini") if name in values}
    return Claim(**{**known, "of": tuple(known["of"])}, **texts, options=values)


def fill_text(text: str, names: Mapping[str, str]) -> str:
    """Replace the names in braces. RaymetricsError for a name that nothing stands for."""
    try:
        return text.format_map(names)
    except KeyError as error:
        raise RaymetricsError(f"{text!r} names {error}, expected one of {sorted(names)}") from None


def command_words(step: str, names: Mapping[str, str], quoted: Sequence[str]) -> list[str]:
    """Return a step as the words of a command.

    quoted: the names that stand for one word each, whatever is in it: inputs and folders. All
    others may stand for several words, or for none.
    """
    safe = {key: shlex.quote(value) if key in quoted else value for key, value in names.items()}
    return shlex.split(fill_text(step, safe))
