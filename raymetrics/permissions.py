"""Which sources, extractors and addresses may be opened because a file names them.

Files of results, shard sets and plans name sources, extractors, and addresses of shards. The author
of the file chose these names, and some of them are programs. Data on this machine are therefore
opened by any name; a name that runs code or lies on another machine is opened only if the user has
written it in the same command, or has allowed it with `--run-code`.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from raymetrics import option_strings
from raymetrics.errors import ProgramRefused
from raymetrics.uris import require_no_secret
from raymetrics.user_code import current_text

CALLABLE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")  # module:callable
PIPELINE_PREFIX = "diffusers:"
SCORE_PREFIX = "score:"  # of an extractor, before module:callable
NETWORK_SUFFIXES = (".pt", ".pt2", ".ts", ".jit")  # files that hold a network with its program
# Sources of raymetrics that open the source in their option `of`, and read files besides.
WRAPPER_SOURCES = (
    "raymetrics.generators.latents.interpolated_paths:InterpolatedPaths",
    "raymetrics.heatmaps.noisy_source:NoisySource",
)
_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
_LOCAL = ("file", "local")


@dataclass(frozen=True)
class Permission:
    """The permission to open names that files contain.

    run_code: also programs, and addresses on other machines. written: sources, extractors and
    addresses that the user wrote in this command, and that a file may therefore repeat.
    """

    run_code: bool = False
    written: frozenset[str] = frozenset()

    def require_source(self, source: str, file: str) -> None:
        """Raise ProgramRefused if a source that the file names runs code or lies elsewhere."""
        self._require(source, source_danger(source, self.written), file)

    def require_extractor(self, extractor: str, file: str) -> None:
        """Raise ProgramRefused if an extractor that the file names runs code or lies elsewhere."""
        self._require(extractor, extractor_danger(extractor), file)

    def require_address(self, address: str, file: str) -> None:
        """Raise ProgramRefused if an address that the file names is not on this machine."""
        self._require(address, address_danger(address), file)

    def _require(self, text: str, danger: str | None, file: str) -> None:
        if danger is None or self.run_code or text in self.written:
            return
        require_no_secret(text, ProgramRefused)
        raise ProgramRefused(
            f"{file} names {text}, which {danger}; what a file names is opened without asking only "
            "if it is data on this machine: add --run-code (in Python run_code=True) if you trust "
            "whoever wrote the file"
        )


def source_danger(source: str, written: Iterable[str] = ()) -> str | None:
    """Describe what opening a source does beyond reading local files; None if nothing.

    written: sources without danger, also inside raymetrics' own wrappers.
    """
    while source not in written:
        name, options = option_strings.parse_options(source)
        if current_text(name) not in WRAPPER_SOURCES:
            return _danger_of_opening(name, options)
        source = options.pop("of", "")
        danger = address_danger(*options.values())
        if danger is not None:
            return danger
    return None


def _danger_of_opening(name: str, options: Mapping[str, str]) -> str | None:
    if CALLABLE.fullmatch(name):
        return "runs Python code"
    if name.startswith(PIPELINE_PREFIX):
        return "runs the code of a pipeline"
    if name.endswith(NETWORK_SUFFIXES):
        return "runs the program of a network"
    return address_danger(name, *options.values())


def extractor_danger(extractor: str) -> str | None:
    """Describe what opening an extractor does beyond reading local files; None if nothing.

    A name that is neither a module's nor a file's is a network of raymetrics, or an error.
    """
    name, options = option_strings.parse_options(extractor)
    if CALLABLE.fullmatch(name.removeprefix(SCORE_PREFIX)) or CALLABLE.fullmatch(name):
        return "runs Python code"
    if "/" in name or "." in name or os.path.isfile(name):
        return "runs the program of a network"
    return address_danger(*options.values())


def address_danger(*addresses: str) -> str | None:
    """Describe that an address is not on this machine; None if all addresses are."""
    for address in addresses:
        schemes = _SCHEME.findall(address)
        if "::" in address or any(scheme not in _LOCAL for scheme in schemes):
            return "is on another machine"
    return None
