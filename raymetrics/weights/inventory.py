"""The known files of weights, for `raymetrics weights`: which there are, and which are here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raymetrics.errors import ExtractorError
from raymetrics.weights.download import ProgressCallback, import_weights_file, locate_or_download
from raymetrics.weights.known_files import KNOWN_WEIGHTS
from raymetrics.weights.locate import LocatedFile, WeightsFile, require_valid

KnownFiles = Mapping[str, tuple[WeightsFile, ...]]


@dataclass(frozen=True)
class WeightsEntry:
    """A file that holds an extractor's weights; any one of an extractor's files will do."""

    extractor: str
    weights: WeightsFile

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
class VerificationResult:
    """What was found of a file that is here. problem: None if it is what it should be."""

    entry: WeightsEntry
    located: LocatedFile | None
    problem: str | None = None


def list_entries(known: KnownFiles = KNOWN_WEIGHTS) -> Iterator[WeightsEntry]:
    """Every file of every extractor."""
    for extractor, files in known.items():
        for weights in files:
            yield WeightsEntry(extractor, weights)


def fetch_named(
    name: str, progress: ProgressCallback | None = None, known: KnownFiles = KNOWN_WEIGHTS
) -> LocatedFile:
    """Downloads a file by its name, or an extractor's first file that can be downloaded.

    What is here already is checked instead. ExtractorError says what else to do.
    """
    files = known.get(name) or tuple(
        e.weights for e in list_entries(known) if e.weights.name == name
    )
    if not files:
        raise ExtractorError(
            f"no extractor or file {name!r} among the known weights; there are {', '.join(known)}, "
            "and the files that 'raymetrics weights list' shows"
        )
    return locate_or_download(files, progress=progress)


def verify_local_files(known: KnownFiles = KNOWN_WEIGHTS) -> Iterator[VerificationResult]:
    """Reads every file that is here and compares its digest, where one was published."""
    for entry in list_entries(known):
        if entry.path is None:
            continue
        try:
            yield VerificationResult(entry, require_valid(entry.weights))
        except ExtractorError as error:
            yield VerificationResult(entry, None, str(error))


def import_known_file(path: str, known: KnownFiles = KNOWN_WEIGHTS) -> LocatedFile:
    """Copies a file into the folder of weights, if it is one that is known."""
    return import_weights_file(path, [entry.weights for entry in list_entries(known)])
