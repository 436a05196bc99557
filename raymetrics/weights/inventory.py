"""The known files of weights, for `raymetrics weights`: which there are, and which are here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raymetrics.errors import ExtractorError
from raymetrics.weights.download import Progress, import_file, obtain
from raymetrics.weights.known_files import KNOWN
from raymetrics.weights.locate import Found, Weights, checked

Catalogue = Mapping[str, tuple[Weights, ...]]


@dataclass(frozen=True)
class Entry:
    """A file that holds an extractor's weights; any one of an extractor's files will do."""

    extractor: str
    weights: Weights

    @property
    def path(self) -> Path | None:
        """Where it lies; None if it is not here."""
        try:
            path = self.weights.path
        except ExtractorError:  # its package is not installed
            return None
        return path if path.is_file() else None

    @property
    def origin(self) -> str:
        """Where it comes from."""
        return self.weights.url or f"the Python package {self.weights.package}"


@dataclass(frozen=True)
class Verdict:
    """What was found of a file that is here. problem: None if it is what it should be."""

    entry: Entry
    found: Found | None
    problem: str | None = None


def entries(known: Catalogue = KNOWN) -> Iterator[Entry]:
    """Every file of every extractor."""
    for extractor, files in known.items():
        for weights in files:
            yield Entry(extractor, weights)


def fetch_named(name: str, progress: Progress | None = None, known: Catalogue = KNOWN) -> Found:
    """Downloads a file by its name, or an extractor's first file that can be downloaded.

    What is here already is checked instead. ExtractorError says what else to do.
    """
    files = known.get(name) or tuple(e.weights for e in entries(known) if e.weights.name == name)
    if not files:
        raise ExtractorError(
            f"no extractor or file {name!r} among the known weights; there are {', '.join(known)}, "
            "and the files that 'raymetrics weights list' shows"
        )
    return obtain(files, progress=progress)


def verify(known: Catalogue = KNOWN) -> Iterator[Verdict]:
    """Reads every file that is here and compares its digest, where one was published."""
    for entry in entries(known):
        if entry.path is None:
            continue
        try:
            yield Verdict(entry, checked(entry.weights))
        except ExtractorError as error:
            yield Verdict(entry, None, str(error))


def import_known(path: str, known: Catalogue = KNOWN) -> Found:
    """Copies a file into the folder of weights, if it is one that is known."""
    return import_file(path, [entry.weights for entry in entries(known)])
