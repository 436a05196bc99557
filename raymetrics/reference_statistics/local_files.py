"""Files of the catalogue on this machine: fetch them, find them, check their digests.

A file whose digest was published is downloaded when it is needed, and checked. Any other file is
downloaded only by `raymetrics statistics fetch`; its digest is then written beside it, and every
later use is checked against that one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from raymetrics.errors import RaymetricsError, StorageError
from raymetrics.reference_statistics.catalogue import (
    CATALOGUE,
    GIT_BLOB,
    NAME_PREFIX,
    SHA256,
    StatisticsFile,
    find_statistics_file,
)
from raymetrics.weights.download import ProgressCallback, download_file
from raymetrics.weights.locate import file_sha256

_DIGEST_ENDING = ".sha256"  # of the file that keeps the digest of an unpublished one


@dataclass(frozen=True)
class LocalStatistics:
    """A file of the catalogue on this machine. verified: whether its digest was published."""

    file: StatisticsFile
    path: Path
    verified: bool


def statistics_folder() -> Path:
    """Return the folder: $RAYMETRICS_STATISTICS, or ~/.cache/raymetrics/statistics."""
    default = Path.home() / ".cache" / "raymetrics" / "statistics"
    return Path(os.environ.get("RAYMETRICS_STATISTICS") or default)


def local_path(file: StatisticsFile) -> Path:
    """Return where the file lies, whether it is there or not."""
    return statistics_folder() / file.file_name


def resolve_name(text: str) -> str:
    """Return the path of the file that "stats:NAME" names; download it if its digest is known.

    RaymetricsError for an unknown name, for a file that is not here and has no published digest,
    and for a wrong digest; StorageError if it cannot be downloaded.
    """
    file = find_statistics_file(text.removeprefix(NAME_PREFIX))
    if not local_path(file).is_file():
        if file.digest is None:
            raise RaymetricsError(
                f"{text} is not on this machine, and nobody has published its digest, so it is not "
                f"downloaded unasked; run: raymetrics statistics fetch {file.name}"
            )
        return str(fetch(file).path)
    return str(verify(file).path)


def fetch(file: StatisticsFile, progress: ProgressCallback | None = None) -> LocalStatistics:
    """Download a file unless it is here, and check its digest, or keep it where none is published.

    StorageError if it cannot be downloaded, RaymetricsError if its digest is wrong.
    """
    path = local_path(file)
    if not path.is_file():
        part = path.with_name(f"{path.name}.part")
        try:
            download_file(file.url, part, progress)
        except OSError as error:
            raise StorageError(
                f"cannot download {file.url} to {path}: {error}; on a machine without network, "
                "copy the file there"
            ) from None
        _require_digest(file, part, remove=True)
        part.rename(path)
        if file.digest is None:
            _digest_file(path).write_text(f"{file_sha256(path)}  {path.name}\n")
    return verify(file)


def verify(file: StatisticsFile) -> LocalStatistics:
    """Check the digest of a file that is here. RaymetricsError if it is another file by now."""
    path = local_path(file)
    _require_digest(file, path, remove=False)
    if file.digest is None and _digest_file(path).is_file():
        actual, fetched = file_sha256(path), _digest_file(path).read_text().split()[0]
        if actual != fetched:
            raise RaymetricsError(
                f"{path} has SHA-256 {actual[:12]}..., {fetched[:12]}... when it was fetched; "
                "remove both files and fetch it again"
            )
    return LocalStatistics(file, path, file.digest is not None)


def list_local() -> dict[str, Path]:
    """Return the files of the catalogue that are here, by name."""
    return {name: path for name, f in CATALOGUE.items() if (path := local_path(f)).is_file()}


def _require_digest(file: StatisticsFile, path: Path, *, remove: bool) -> None:
    """Raise RaymetricsError if a published digest is not that of the content of `path`."""
    if file.digest is None:
        return
    kind, expected = file.digest
    actual = {SHA256: file_sha256, GIT_BLOB: _git_blob_digest}[kind](path)
    if actual != expected:
        if remove:
            path.unlink()
        raise RaymetricsError(
            f"{file.url} has the {kind} digest {actual[:12]}..., expected {expected[:12]}...; "
            f"{'it was thrown away' if remove else f'remove {path}'}: fetch it again"
        )


def _git_blob_digest(path: Path) -> str:
    """Compute the digest by which git names a file of this content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _digest_file(path: Path) -> Path:
    return path.with_name(path.name + _DIGEST_ENDING)
