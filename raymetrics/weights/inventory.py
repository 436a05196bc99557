"""The known files of weights, for `raymetrics weights`, and which of them are on this machine."""

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
    """A file that holds an extractor's weights; any single file of an extractor suffices."""

    extractor: str
    weights: WeightsFile

    @property
    def path(self) -> Path | None:
        """The path of the file; None if the file is missing."""
        try:
            path = self.weights.path
        except ExtractorError:  # its package is not installed
            return None
        return path if path.is_file() else None

    @property
    def origin(self) -> str:
        """The address or the package of the file."""
        return self.weights.url or f"the Python package {self.weights.package}"


@dataclass(frozen=True)
class VerificationResult:
    """The result of checking a local file. problem: None if the file is valid."""

    entry: WeightsEntry
    located: LocatedFile | None
    problem: str | None = None


def list_entries(known: KnownFiles = KNOWN_WEIGHTS) -> Iterator[WeightsEntry]:
    """Yield every file of every extractor."""
    for extractor, files in known.items():
        for weights in files:
            yield WeightsEntry(extractor, weights)


def fetch_named(
    name: str, progress: ProgressCallback | None = None, known: KnownFiles = KNOWN_WEIGHTS
) -> LocatedFile:
    """Download a file by its name, or an extractor's first file that can be downloaded.

    A file that exists is checked instead. Raise ExtractorError, which says what else to do, if the
    name is unknown or no file can be had.
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
    """Read every local file and compare its digest, if one was published."""
    for entry in list_entries(known):
        if entry.path is None:
            continue
        try:
            yield VerificationResult(entry, require_valid(entry.weights))
        except ExtractorError as error:
            yield VerificationResult(entry, None, str(error))


def import_known_file(path: str, known: KnownFiles = KNOWN_WEIGHTS) -> LocatedFile:
    """Copy a file into the folder of weights, if it is a known file."""
    return import_weights_file(path, [entry.weights for entry in list_entries(known)])
