"""Read ranges of bytes of files on a disk or at any URI that fsspec knows.

A range is read with one request and without an open handle. So threads need no lock, and a worker
that needs one image of a large file reads nothing else.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raymetrics.errors import RaymetricsError, SourceError, StorageError

COPY_HINT = "was it copied to the end?"
_CHUNK_BYTES = 2**26  # bytes held at a time while a file is digested
MAX_FILES = 100_000  # of a pattern; the existence of each is checked
_BRACES = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")


def expand_pattern(pattern: str) -> list[str]:
    """Expand "a-{08..10}.tar" to a-08.tar, a-09.tar, a-10.tar.

    Numbers have at least the digits of the first one. Raises SourceError, before it builds the
    names, for a pattern of no names or of more than `MAX_FILES`.
    """
    parts = _BRACES.split(pattern)
    bounds = list(zip(parts[1::3], parts[2::3], strict=True))
    count = math.prod(max(0, int(last) - int(first) + 1) for first, last in bounds)
    if not 0 < count <= MAX_FILES:
        raise SourceError(
            f"the pattern {pattern} names {count} files, expected 1 to {MAX_FILES}; count up from "
            "the first to the last, or name the folder that they lie in"
        )
    ranges = [
        [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)] for first, last in bounds
    ]
    fixed = parts[0::3]
    return [
        fixed[0] + "".join(n + text for n, text in zip(numbers, fixed[1:], strict=True))
        for numbers in itertools.product(*ranges)
    ]


def escapes_archive(name: str) -> bool:
    """Return whether a name in an archive is absolute, has a drive letter, or contains ".."."""
    parts = re.split(r"[/\\]", name)
    return parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name) is not None


@contextmanager
def _storage_errors(where: str) -> Iterator[None]:
    """Turn any error of the file system into a StorageError that names the location."""
    try:
        yield
    except RaymetricsError:
        raise
    except Exception as error:  # the errors of fsspec's file systems have no common base class
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise StorageError(f"cannot read {where}: {reason}") from error


class _OpenedFile(io.RawIOBase):
    """A file opened for reading, whose storage errors are StorageErrors that name the file.

    So every other error of a parser means damage. A read never asks for more bytes than the file
    has, whatever a damaged file makes its parser ask for.
    """

    def __init__(self, file: IO[bytes], size: int, where: str) -> None:
        super().__init__()
        self._file, self._size, self._where = file, size, where

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and not 0 <= offset < 2**63:
            raise ValueError(f"it names the place {offset} in itself")
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self.tell())
        with _storage_errors(self._where):
            return self._file.read(left if size is None or size < 0 else min(size, left))

    def close(self) -> None:
        self._file.close()
        super().close()


class DataLocation:
    """A file, a folder, or the files of a pattern, at a path or a URI.

    files: the size in bytes of each file, by its path below the folder, in sorted order. A single
    file has the key "", so that the digest of a set does not depend on the file's name.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri
        with _storage_errors(uri):
            self.fs, path = fsspec.core.url_to_fs(self.uri)
            self.fs.invalidate_cache()
            self.is_folder: bool = self.fs.isdir(path)
        self.root: str = path.rstrip("/")
        if self.is_folder:
            self.files: Mapping[str, int] = dict(sorted(self._walk_files()))
        elif _BRACES.search(path):
            self.root = _BRACES.split(path)[0].rpartition("/")[0]
            names = expand_pattern(path.removeprefix(f"{self.root}/"))
            self.files = {name: self._file_size(name) for name in sorted(names)}
        else:
            self.files = {"": self._file_size("")}

    @property
    def is_local(self) -> bool:
        """Whether the files lie on a disk of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def _walk_files(self) -> Iterator[tuple[str, int]]:
        """Yield the path and the size of each file below the folder.

        Follows links to files, but not links to folders.
        """
        with _storage_errors(self.uri):
            entries = self.fs.find(self.root, detail=True)
        for path, info in entries.items():
            yield path.removeprefix(self.root).lstrip("/"), int(info["size"])

    def _file_size(self, name: str) -> int:
        """Return the size of a file in bytes.

        Raises SourceError if no such file exists, StorageError if that cannot be found out.
        """
        with _storage_errors(self.display_path(name)):
            try:
                info = self.fs.info(self.path(name))
            except FileNotFoundError:
                info = {}
        if info.get("type") != "file":
            raise SourceError(f"there is no file {self.display_path(name)}; expected a data set")
        return int(info["size"])

    def path(self, name: str) -> str:
        """Return a file's path in the form that the file system takes."""
        return f"{self.root}/{name}" if name else self.root

    def display_path(self, name: str) -> str:
        """Return a file's path in the form that the user wrote, for errors."""
        if not name:
            return self.uri
        return f"{self.uri}/{name}" if self.is_folder else self.path(name)

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """Read the file's bytes from `start` to before `stop`; StorageError if that fails."""
        with _storage_errors(self.display_path(name)):
            data: bytes = self.fs.cat_file(self.path(name), start=start, end=stop)
        return data

    def open(self, name: str, block: int = 2**18) -> IO[bytes]:
        """Open the file for reading at any position; StorageError if that fails.

        block: bytes fetched at a time if the file is not local; by default s3fs would fetch 50 MB
        for one byte.
        """
        with _storage_errors(self.display_path(name)):
            opened: IO[bytes] = self.fs.open(self.path(name), "rb", block_size=block)
        return cast(IO[bytes], _OpenedFile(opened, self.files[name], self.display_path(name)))

    def sha256(self, name: str) -> str:
        """Compute the SHA-256 of the file's bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        for start in range(0, self.files[name], _CHUNK_BYTES):
            digest.update(self.read(name, start, min(start + _CHUNK_BYTES, self.files[name])))
        return digest.hexdigest()
