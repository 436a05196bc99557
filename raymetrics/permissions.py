"""Which sources, extractors and addresses may be opened because a file names them.

A file of results, a shard set and a plan name what they are about: sources, extractors, places of
shards. Whoever wrote the file chose these names, and some of them are programs. So data of this
machine are opened as they are named; what runs code or lies on another machine is opened only if
the user has written it in this very command, or has allowed it with `--run-code`.
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
NETWORK_SUFFIXES = (".pt", ".pt2", ".ts", ".jit")  # files that hold a network with its program
# Sources of raymetrics itself, which open the source in their option `of` and read files beside it.
WRAPPER_SOURCES = (
    "raymetrics.generators.latents.interpolated_paths:InterpolatedPaths",
    "raymetrics.heatmaps.noisy_source:NoisySource",
)
_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
_LOCAL = ("file", "local")


@dataclass(frozen=True)
class Permission:
    """What may be opened of that which files name.

    run_code: programs and addresses of other machines too. written: sources, extractors and
    addresses that the user wrote in this command, so that a file that repeats them adds nothing.
    """

    run_code: bool = False
    written: frozenset[str] = frozenset()

    def require_source(self, source: str, file: str) -> None:
        """Refuse a source that the file names if it is a program or elsewhere: ProgramRefused."""
        self._require(source, source_danger(source, self.written), file)

    def require_extractor(self, extractor: str, file: str) -> None:
        """Refuse an extractor that the file names if it is a program or elsewhere:
        ProgramRefused."""
        self._require(extractor, extractor_danger(extractor), file)

    def require_address(self, address: str, file: str) -> None:
        """Refuse an address that the file names if it is not on this machine: ProgramRefused."""
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
    """Tell what opening a source does beyond reading files of this machine; None if nothing.

    written: sources in which no danger is seen, also inside of raymetrics' own wrappers.
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
    """Tell what opening an extractor does beyond reading files of this machine; None if nothing.

    A name that is neither a module's nor a file's is a network of raymetrics, or an error.
    """
    name, options = option_strings.parse_options(extractor)
    if CALLABLE.fullmatch(name):
        return "runs Python code"
    if "/" in name or "." in name or os.path.isfile(name):
        return "runs the program of a network"
    return address_danger(*options.values())


def address_danger(*addresses: str) -> str | None:
    """Tell that one of some addresses is not on this machine; None if all are."""
    for address in addresses:
        schemes = _SCHEME.findall(address)
        if "::" in address or any(scheme not in _LOCAL for scheme in schemes):
            return "is on another machine"
    return None
