"""Download files of weights: resume interrupted downloads, and check every digest."""

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
from raymetrics.files import require_disk_not_full
from raymetrics.weights.locate import (
    LocatedFile,
    WeightsFile,
    explain_how_to_get,
    file_sha256,
    find_local,
    require_valid,
)

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 30  # without a byte

ProgressCallback = Callable[[int, int | None], None]  # bytes so far, bytes in all if known


def locate_or_download(
    candidates: Sequence[WeightsFile],
    path: str | None = None,
    progress: ProgressCallback | None = None,
) -> LocatedFile:
    """Return the file at `path`, or the first local candidate, or download one.

    The first candidate that can be downloaded is taken. Raise ExtractorError, which says where to
    copy which file, if no candidate can be had.
    """
    located = find_local(candidates, path)
    if located is not None:
        return located
    first_error: ExtractorError | None = None
    for weights in filter(_is_downloadable, candidates):
        try:
            return fetch_weights(weights, progress)
        except ExtractorError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error
    return require_valid(candidates[0])


def _is_downloadable(weights: WeightsFile) -> bool:
    """Return whether the file has an address and a digest, and does not belong to a package."""
    return bool(weights.url and weights.sha256) and weights.locate is None


def fetch_weights(weights: WeightsFile, progress: ProgressCallback | None = None) -> LocatedFile:
    """Download a file into `weights_folder()` unless it exists; resume a partial download.

    Raise ExtractorError if the server cannot be reached, or if the file's digest is wrong or was
    never published.
    """
    if weights.path.is_file():
        return require_valid(weights)
    if not _is_downloadable(weights):
        raise ExtractorError(f"{weights.name} cannot be downloaded; {explain_how_to_get(weights)}")
    part = weights.path.with_name(weights.name + ".part")
    try:
        with _exclusive_lock(part):
            if not weights.path.is_file():  # another process may have downloaded it meanwhile
                _resume_download(str(weights.url), part, progress)
                _accept_if_digest_matches(part, weights)
    except (OSError, http.client.HTTPException) as error:
        require_disk_not_full(error, f"download {weights.url} to {weights.path}")
        raise ExtractorError(
            f"cannot download {weights.url} to {weights.path}: {error}; on a machine without "
            "network, copy the file there, or name one: '?weights=PATH'"
        ) from None
    return require_valid(weights)


def download_file(url: str, part: Path, progress: ProgressCallback | None = None) -> None:
    """Download a file to `part`, and go on where an interrupted download stopped.

    One process at a time on this machine. OSError if it cannot be downloaded or written.
    """
    with _exclusive_lock(part):
        try:
            _resume_download(url, part, progress)
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from None


def _accept_if_digest_matches(part: Path, weights: WeightsFile) -> None:
    """Rename the download to its final name if its digest is right.

    Otherwise remove the download and raise ExtractorError.
    """
    digest = file_sha256(part)
    if digest != weights.sha256:
        part.unlink()
        raise ExtractorError(
            f"{weights.url} has SHA-256 {digest[:12]}..., expected {str(weights.sha256)[:12]}...; "
            f"it was thrown away: fetch it again, or copy the right file to {weights.path}"
        )
    part.rename(weights.path)


def _resume_download(url: str, part: Path, progress: ProgressCallback | None) -> None:
    """Append the missing bytes to the file; start anew if the server cannot resume."""
    present_bytes = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"Range": f"bytes={present_bytes}-"} if present_bytes else {}
    )
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file is complete
            error.close()
            return
        raise
    with response, part.open("ab" if response.status == 206 else "wb") as file:
        length = response.headers.get("Content-Length")
        total = None if length is None else file.tell() + int(length)
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            if progress:
                progress(file.tell(), total)
    if total is not None and part.stat().st_size < total:
        raise OSError(f"the connection ended after {part.stat().st_size} of {total} bytes")


@contextmanager
def _exclusive_lock(part: Path) -> Iterator[None]:
    """Let one process at a time on this machine download a file."""
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def import_weights_file(path: str, candidates: Sequence[WeightsFile]) -> LocatedFile:
    """Copy a file of weights into `weights_folder()`, under the name of the known file.

    The file is identified by its digest, or by its name if no digest was published. Raise
    ExtractorError if the file is unknown or cannot be copied.
    """
    file = Path(path)
    if not os.path.isfile(path):
        raise ExtractorError(f"no file {path}; give the path of a file of weights")
    digest = file_sha256(file)
    weights = _identify_file(file, digest, [w for w in candidates if w.locate is None])
    target = weights.path
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, temporary)
        temporary.rename(target)
    except OSError as error:
        require_disk_not_full(error, f"copy {path} to {target}")
        raise ExtractorError(
            f"cannot copy {path} to {target}: {error}; $RAYMETRICS_WEIGHTS names another folder"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return LocatedFile(target, digest, weights.sha256 is not None)


def _identify_file(file: Path, digest: str, candidates: Sequence[WeightsFile]) -> WeightsFile:
    """Return the known file that this file is. Raise ExtractorError for an unknown file."""
    by_digest = [w for w in candidates if w.sha256 == digest]
    by_name = [w for w in candidates if w.name == file.name]
    for weights in by_digest + by_name:
        if weights.sha256 in (None, digest):
            return weights
        raise ExtractorError(
            f"{file} has SHA-256 {digest[:12]}..., but {weights.name} has "
            f"{str(weights.sha256)[:12]}...; the file is damaged or another version: get it again"
        )
    raise ExtractorError(
        f"{file} (SHA-256 {digest[:12]}...) is none of the known files, which 'raymetrics weights "
        "list' shows; use it by its path: 'EXTRACTOR?weights=PATH'"
    )
