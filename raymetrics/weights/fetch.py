"""Downloads weights: resumed where it stopped, believed only by their digest."""

from __future__ import annotations

import fcntl
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from raymetrics.errors import ExtractorError
from raymetrics.weights.files import Found, Weights, checked, choose, digest_of, home, how_to_get

CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte

Progress = Callable[[int, int | None], None]  # bytes that are here, of so many


def obtain(candidates: Sequence[Weights], path: str | None = None) -> Found:
    """The file at `path`, or the first candidate that is here, or the first that can be downloaded.

    ExtractorError says where to copy which file.
    """
    found = choose(candidates, path)
    if found is not None:
        return found
    for weights in candidates:
        if weights.url and weights.sha256 and weights.locate is None:
            return fetch(weights)
    return checked(candidates[0])


def fetch(weights: Weights, progress: Progress | None = None) -> Found:
    """Downloads a file into `home()` unless it is there; what has come before is kept.

    ExtractorError if it cannot be reached, is not what it should be, or has no digest.
    """
    if weights.path.is_file():
        return checked(weights)
    if weights.url is None or weights.sha256 is None or weights.locate is not None:
        raise ExtractorError(f"{weights.name} cannot be downloaded; {how_to_get(weights)}")
    part = weights.path.with_name(weights.name + ".part")
    with alone(part):
        if weights.path.is_file():  # another process has fetched it in the meantime
            return checked(weights)
        try:
            download(weights.url, part, progress)
        except (OSError, urllib.error.URLError) as error:
            raise ExtractorError(
                f"cannot download {weights.url}: {error}; on a machine without network, copy the "
                f"file to {weights.path}, or name one: '?weights=PATH'"
            ) from None
        found = digest_of(part)
        if found != weights.sha256:
            part.unlink()
            raise ExtractorError(
                f"{weights.url} has SHA-256 {found[:12]}..., expected {weights.sha256[:12]}...; "
                "it was thrown away: fetch it again, or copy the right file to "
                f"{weights.path}"
            )
        part.rename(weights.path)
    return Found(weights.path, found, published=True)


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


def import_file(path: str, known: Sequence[Weights]) -> tuple[Path, Weights]:
    """Copies a file of weights into `home()`, under the name of the known file that it is.

    It is that by its digest, or by its name where no digest was published. ExtractorError if it is
    none.
    """
    file = Path(path)
    if not file.is_file():
        raise ExtractorError(f"no file {path}; give the path of a file of weights")
    found = digest_of(file)
    by_digest = next((w for w in known if w.sha256 == found), None)
    by_name = next((w for w in known if w.name == file.name and w.locate is None), None)
    weights = by_digest or by_name
    if weights is None:
        raise ExtractorError(
            f"{path} (SHA-256 {found[:12]}...) is none of the known files, which 'raymetrics "
            "weights list' shows; use it by its path: 'EXTRACTOR?weights=PATH'"
        )
    if weights.sha256 not in (None, found):
        raise ExtractorError(
            f"{path} has SHA-256 {found[:12]}..., but {weights.name} has {weights.sha256[:12]}...; "
            "the file is damaged or another version: get it again"
        )
    to = home() / weights.name
    to.parent.mkdir(parents=True, exist_ok=True)
    aside = to.with_name(f"{to.name}.{os.getpid()}")
    shutil.copyfile(file, aside)
    aside.rename(to)
    return to, weights
