"""Downloads weights: resumed where it stopped, believed only by their digest."""

from __future__ import annotations

import fcntl
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from raymetrics.errors import ExtractorError
from raymetrics.files import require_room
from raymetrics.weights.locate import Found, Weights, checked, choose, digest_of, how_to_get

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte

Progress = Callable[[int, int | None], None]  # bytes that are here, of so many


def obtain(
    candidates: Sequence[Weights], path: str | None = None, progress: Progress | None = None
) -> Found:
    """The file at `path`, or the first candidate that is here, or the first that can be downloaded.

    ExtractorError says where to copy which file.
    """
    found = choose(candidates, path)
    if found is not None:
        return found
    failed: ExtractorError | None = None
    for weights in filter(can_be_fetched, candidates):
        try:
            return fetch(weights, progress)
        except ExtractorError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return checked(candidates[0])


def can_be_fetched(weights: Weights) -> bool:
    """Whether there is an address, and a digest to know the file by."""
    return bool(weights.url and weights.sha256) and weights.locate is None


def fetch(weights: Weights, progress: Progress | None = None) -> Found:
    """Downloads a file into `home()` unless it is there; what has come before is kept.

    ExtractorError if it cannot be reached, is not what it should be, or has no digest.
    """
    if weights.path.is_file():
        return checked(weights)
    if not can_be_fetched(weights):
        raise ExtractorError(f"{weights.name} cannot be downloaded; {how_to_get(weights)}")
    part = weights.path.with_name(weights.name + ".part")
    try:
        with alone(part):
            if not weights.path.is_file():  # another process may have fetched it in the meantime
                download(str(weights.url), part, progress)
                believe(part, weights)
    except (OSError, http.client.HTTPException) as error:
        require_room(error, f"download {weights.url} to {weights.path}")
        raise ExtractorError(
            f"cannot download {weights.url} to {weights.path}: {error}; on a machine without "
            "network, copy the file there, or name one: '?weights=PATH'"
        ) from None
    return checked(weights)


def believe(part: Path, weights: Weights) -> None:
    """Gives a file its name if its digest is right. ExtractorError, and no file, if it is not."""
    found = digest_of(part)
    if found != weights.sha256:
        part.unlink()
        raise ExtractorError(
            f"{weights.url} has SHA-256 {found[:12]}..., expected {str(weights.sha256)[:12]}...; "
            f"it was thrown away: fetch it again, or copy the right file to {weights.path}"
        )
    part.rename(weights.path)


def download(url: str, part: Path, progress: Progress | None) -> None:
    """Adds to the file what it lacks. A server that cannot resume sends all of it again."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is lacking
            error.close()
            return
        raise
    with answer, part.open("ab" if answer.status == 206 else "wb") as file:
        length = answer.headers.get("Content-Length")
        total = None if length is None else file.tell() + int(length)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            if progress:
                progress(file.tell(), total)
    if total is not None and part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size} of {total} bytes")


@contextmanager
def alone(part: Path) -> Iterator[None]:
    """Only one process at a time downloads a file to a machine."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def import_file(path: str, known: Sequence[Weights]) -> Found:
    """Copies a file of weights into `home()`, under the name of the known file that it is.

    It is that by its digest, or by its name where no digest was published. ExtractorError if it is
    none, or cannot be copied.
    """
    file = Path(path)
    if not os.path.isfile(path):
        raise ExtractorError(f"no file {path}; give the path of a file of weights")
    found = digest_of(file)
    weights = recognised(file, found, [w for w in known if w.locate is None])
    to = weights.path
    aside = to.with_name(f"{to.name}.{os.getpid()}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, aside)
        aside.rename(to)
    except OSError as error:
        require_room(error, f"copy {path} to {to}")
        raise ExtractorError(
            f"cannot copy {path} to {to}: {error}; $RAYMETRICS_WEIGHTS names another folder"
        ) from None
    finally:
        with suppress(OSError):
            aside.unlink()
    return Found(to, found, weights.sha256 is not None)


def recognised(file: Path, found: str, known: Sequence[Weights]) -> Weights:
    """Which of the known files it is. ExtractorError if it is none."""
    by_digest = [w for w in known if w.sha256 == found]
    by_name = [w for w in known if w.name == file.name]
    for weights in by_digest + by_name:
        if weights.sha256 in (None, found):
            return weights
        raise ExtractorError(
            f"{file} has SHA-256 {found[:12]}..., but {weights.name} has "
            f"{str(weights.sha256)[:12]}...; the file is damaged or another version: get it again"
        )
    raise ExtractorError(
        f"{file} (SHA-256 {found[:12]}...) is none of the known files, which 'raymetrics weights "
        "list' shows; use it by its path: 'EXTRACTOR?weights=PATH'"
    )
