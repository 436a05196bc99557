"""Write local files atomically, and append lines to a file.

Results, pages and tables are written here; shards have a store of their own.
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

TEMPORARY_PREFIX = ".aside-"  # of the name of a file while it is written
FULL_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Raise StorageUnavailable for a full disk, StorageError for any other OSError in the block.

    what: such as "write the page to report/index.html".
    """
    try:
        yield
    except OSError as error:
        require_disk_not_full(error, what)
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(
            f"cannot {what}: {error.strerror or error}{where}; expected a place that can be written"
        ) from error


def require_disk_not_full(error: Exception, what: str) -> None:
    """Raise StorageUnavailable if the error came from a full disk; what: as in `storage_errors`."""
    number = getattr(error, "errno", None)
    if number in FULL_DISK_ERRNOS:
        raise StorageUnavailable(
            f"cannot {what}: no room ({os.strerror(number)}); what was there is whole: free "
            "space, or choose another place, and run the same command again"
        ) from error


@contextmanager
def temporary_file(folder: Path, data: bytes) -> Iterator[Path]:
    """Write a file with a unique name into a folder, and sync it; create a missing folder.

    The block may move or link the file; afterwards the name is removed.
    """
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
    """Write and sync a temporary file, and rename it; create missing folders.

    An earlier file of this name stays until then, and stays if anything fails; a link stays a link.
    Raise StorageError if the file cannot be written, StorageUnavailable if the disk is full.
    """
    target = Path(os.path.realpath(_require_path(path)))
    with storage_errors(f"write {path}"), temporary_file(target.parent, data) as temporary:
        os.replace(temporary, target)


def append_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Append lines of ASCII text, given without newlines, to a file: all lines, or none.

    The file and its folders are created if missing. Lines of several writers do not mix. If a
    killed writer left an unfinished line, the line is ended first. Raise StorageError if the file
    cannot be written, StorageUnavailable if the disk is full.
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
    """Raise StorageError unless files can be written into a folder, which need not exist yet.

    Leaves nothing behind.
    """
    _try_folder(Path(_require_path(folder)), f"write into {folder}")


def require_writable_file(file_name: str | Path, *, append: bool = False) -> None:
    """Raise StorageError unless a file can be written; the file need not exist yet.

    append: the file will be extended, and may be a pipe; otherwise it will be replaced. Changes
    nothing and leaves nothing behind.
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
    """Write an unnamed file into the folder, or into its nearest existing parent."""
    with storage_errors(what):
        while not folder.exists():
            folder = folder.absolute().parent
        if not folder.is_dir():
            raise StorageError(f"cannot {what}: {folder} is a file; expected a folder")
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"?")
        except OSError as error:
            error.filename = str(folder)  # the unnamed file's name would not help
            raise


def _require_path(path: str | Path) -> str | Path:
    """Return the path. Raise StorageError if it is empty, or the address of an object store."""
    if "://" in str(path) or not str(path).strip():
        raise StorageError(
            f"cannot write to {str(path)!r}: expected the path of a local file or folder; what is "
            "written there can be copied to an object store"
        )
    return path


def _append_whole(file: int, data: bytes) -> None:
    """Append to a file under a lock; restore its size if an error occurs."""
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
    """Lock a file until it is closed, after other locks. Return False if locks are unsupported."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _write_all(file: int, data: bytes) -> None:
    """Write all data, usually in one call; after a partial write the next call raises an error."""
    while data:
        data = data[os.write(file, data) :]


def require_file_or_folder(path: str | Path) -> None:
    """Raise StorageError for a device, a pipe or a socket, which may never end.

    A missing path is accepted; its reader raises the error.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StorageError(f"{path} is a device, a pipe or a socket; expected a file")
