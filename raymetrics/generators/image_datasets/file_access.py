"""Files on a disk or behind any URI that fsspec knows, read in ranges of bytes.

A range is read with one request and no open handle, so that threads need no lock and a
worker that reads one image of a large file reads nothing else.
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

from raymetrics.errors import RaymetricsError, SourceError, StorageError

COPY_HINT = "was it copied to the end?"
_CHUNK_BYTES = 2**26  # bytes held at a time while a file is digested
MAX_FILES = 100_000  # that a pattern may name; each is looked for
_BRACES = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")


def expand_pattern(pattern: str) -> list[str]:
    """ "a-{08..10}.tar" -> a-08.tar, a-09.tar, a-10.tar; as wide as the first number is.

    SourceError, before any of them is written out, for a pattern of no names or of too many.
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
    """Whether a name in an archive is absolute, has a drive letter, or climbs with ".."."""
    parts = re.split(r"[/\\]", name)
    return parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name) is not None


@contextmanager
def _storage_errors(where: str) -> Iterator[None]:
    """Whatever the file system below raises, as a StorageError that names the place."""
    try:
        yield
    except RaymetricsError:
        raise
    except Exception as error:  # fsspec's kinds have no common base
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise StorageError(f"cannot read {where}: {reason}") from error


class _OpenedFile(io.RawIOBase):
    """A file opened for reading. What the store below raises is a StorageError that names it, so
    that anything else which a parser raises is damage. No more is read than there is, however
    much a damaged file asks its parser to read."""

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
    """A file, a folder, or several files by a pattern, at a path or a URI.

    files: the bytes of each file by its path below the folder, in sorted order. A single file
    is called "" there, so that its own name is no part of what it holds.
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

    def _walk_files(self) -> Iterator[tuple[str, int]]:
        """Links to files are followed, links to folders are not."""
        with _storage_errors(self.uri):
            entries = self.fs.find(self.root, detail=True)
        for path, info in entries.items():
            yield path.removeprefix(self.root).lstrip("/"), int(info["size"])

    def _file_size(self, name: str) -> int:
        """SourceError if there is no such file; no right to look is a StorageError."""
        with _storage_errors(self.display_path(name)):
            try:
                info = self.fs.info(self.path(name))
            except FileNotFoundError:
                info = {}
        if info.get("type") != "file":
            raise SourceError(f"there is no file {self.display_path(name)}; expected a data set")
        return int(info["size"])

    def path(self, name: str) -> str:
        """A file's path, as the file system below wants it."""
        return f"{self.root}/{name}" if name else self.root

    def display_path(self, name: str) -> str:
        """A file's path, as a reader of an error knows it."""
        if not name:
            return self.uri
        return f"{self.uri}/{name}" if self.is_folder else self.path(name)

    def read(self, name: str, start: int | None = None, stop: int | None = None) -> bytes:
        """The file's bytes from `start` to before `stop`; StorageError if it cannot be read."""
        with _storage_errors(self.display_path(name)):
            data: bytes = self.fs.cat_file(self.path(name), start=start, end=stop)
        return data

    def open(self, name: str, block: int = 2**18) -> IO[bytes]:
        """The file, opened for reading at any place.

        block: bytes fetched at a time where it is not local; s3fs would take 50 MB for a byte.
        """
        with _storage_errors(self.display_path(name)):
            opened: IO[bytes] = self.fs.open(self.path(name), "rb", block_size=block)
        return cast(IO[bytes], _OpenedFile(opened, self.files[name], self.display_path(name)))

    def sha256(self, name: str) -> str:
        """The digest of the file's bytes, in hexadecimal digits."""
        digest = hashlib.sha256()
        for start in range(0, self.files[name], _CHUNK_BYTES):
            digest.update(self.read(name, start, min(start + _CHUNK_BYTES, self.files[name])))
        return digest.hexdigest()
