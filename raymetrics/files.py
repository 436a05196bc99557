"""Local files of ours: written whole or not at all, and lines that are added to one.

Whoever writes a result, a page or a table writes it here; shards have a store of their own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raymetrics.errors import StorageError, StorageUnavailable

TEMPORARY_PREFIX = ".aside-"  # how the name of a file begins that is being written
FULL_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Raise StorageUnavailable for a full disk, and StorageError for any other OSError within;
    what: "write the page to report/index.html"."""
    try:
        yield
    except OSError as error:
        require_disk_not_full(error, what)
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(
            f"cannot {what}: {error.strerror or error}{where}; expected a place that can be written"
        ) from error


def require_disk_not_full(error: Exception, what: str) -> None:
    """Raise StorageUnavailable if the error came from a full disk; what: as above."""
    number = getattr(error, "errno", None)
    if number in FULL_DISK_ERRNOS:
        raise StorageUnavailable(
            f"cannot {what}: no room ({os.strerror(number)}); what was there is whole: free "
            "space, or choose another place, and run the same command again"
        ) from error


@contextmanager
def temporary_file(folder: Path, data: bytes) -> Iterator[Path]:
    """Write a file of a name of its own, synced, into a folder, which is made if it is missing.
    Whoever wants it moves or links it within the block, after which the name is gone."""
    temporary = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file aside, sync it, and give it its name; missing folders are made.

    An earlier file of this name stays until then, and if anything fails; a link stays a link.
    StorageError if it cannot be written, StorageUnavailable if there is no room.
    """
    target = Path(os.path.realpath(_require_path(path)))
    with storage_errors(f"write {path}"), temporary_file(target.parent, data) as temporary:
        os.replace(temporary, target)


def append_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Add lines of ASCII text, without their ends, to a file: all of them, or none.

    The file and its folders are made if they are missing. Lines of several writers do not mix.
    What a writer that was killed left without an end gets one, so that the new lines are lines of
    their own. StorageError if it cannot be written, StorageUnavailable if there is no room.
    """
    data = "".join(f"{line}\n" for line in lines).encode("ascii")
    with storage_errors(f"write {path}"):
        Path(_require_path(path)).parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                _append_whole(file, data)
            else:  # a pipe or a terminal
                _write_all(file, data)
        finally:
            os.close(file)


def require_writable_folder(folder: str | Path) -> None:
    """Try whether files can be written into a folder, which need not be there yet. StorageError if
    they cannot, or if it is a file. Nothing is left there."""
    _try_folder(Path(_require_path(folder)), f"write into {folder}")


def require_writable_file(file_name: str | Path, *, append: bool = False) -> None:
    """Try whether a file can be written, which need not be there yet. StorageError if it cannot,
    or if it is a folder. Nothing is left there, and what is there stays as it is.

    appended: to the file that is there, which may be a pipe then; else another takes its place.
    """
    path, what = Path(_require_path(file_name)), f"write {file_name}"
    with storage_errors(what):
        if path.is_dir() or str(file_name).endswith("/"):
            raise StorageError(f"cannot {what}: it is a folder; expected a file's name")
        if path.exists() and not (append or path.is_file()):
            raise StorageError(f"cannot {what}: it is no file, and would be replaced by one")
        if append and path.exists():
            os.close(os.open(path, os.O_RDWR | os.O_APPEND))
        else:
            _try_folder(Path(os.path.realpath(file_name)).parent, what)


def _try_folder(folder: Path, what: str) -> None:
    """Make a file without a name in the folder, or where its parents begin to be missing."""
    with storage_errors(what):
        while not folder.exists():
            folder = folder.absolute().parent
        if not folder.is_dir():
            raise StorageError(f"cannot {what}: {folder} is a file; expected a folder")
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"?")
        except OSError as error:
            error.filename = str(folder)  # whose name means something
            raise


def _require_path(path: str | Path) -> str | Path:
    """Return the path. StorageError if it is empty, or the address of an object store."""
    if "://" in str(path) or not str(path).strip():
        raise StorageError(
            f"cannot write to {str(path)!r}: expected the path of a local file or folder; what is "
            "written there can be copied to an object store"
        )
    return path


def _append_whole(file: int, data: bytes) -> None:
    """Add to a file while nobody else does; it is as it was before if there is no room."""
    locked = _lock(file)
    size = os.fstat(file).st_size
    torn = size and os.pread(file, 1, size - 1) != b"\n"
    try:
        _write_all(file, b"\n" + data if torn else data)
        os.fsync(file)
    except OSError:
        if locked:
            os.ftruncate(file, size)
        raise


def _lock(file: int) -> bool:
    """Wait until nobody else of us has the file, until it is closed; False where there are no
    locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _write_all(file: int, data: bytes) -> None:
    """Write data, as a rule at once; a disk that takes only a part of it says why the next time."""
    while data:
        data = data[os.write(file, data) :]


def require_file_or_folder(path: str | Path) -> None:
    """Refuse a device, a pipe or a socket, which a file may name and which may never end:
    StorageError. What is not there is left to whoever reads it."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StorageError(f"{path} is a device, a pipe or a socket; expected a file")
