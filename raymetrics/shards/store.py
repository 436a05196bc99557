"""A directory or an object-store prefix, where a file is there whole or not at all.

Locally a file is written aside, synced, and linked under its name; on an object store it is
one conditional PUT. Either way the first writer wins, and a reader never sees a part.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raymetrics.errors import StorageError


class Store:
    """Files by name under `uri`: a path, file://, s3:// or any scheme that fsspec knows."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/") or uri
        try:
            self.fs, self.root = fsspec.core.url_to_fs(self.uri)
        except (ValueError, ImportError) as error:
            raise StorageError(
                f"cannot use {uri!r}: {error}; expected a path or an s3:// prefix"
            ) from None
        self.local = isinstance(self.fs, LocalFileSystem)
        # A relative path means another place in another process.
        self.absolute_uri = self.root if self.local else self.uri

    def __str__(self) -> str:
        return self.uri

    def path(self, name: str) -> str:
        """The full path of the file `name`, as the file system below wants it."""
        return f"{self.root}/{name}"

    def names(self) -> dict[str, int]:
        """The files directly under the prefix and their bytes; empty if there is no prefix."""
        with self._failing("list"):
            self.fs.invalidate_cache()
            try:
                entries = self.fs.ls(self.root, detail=True)
            except FileNotFoundError:
                return {}
        if [entry["name"] for entry in entries if entry["type"] == "file"] == [self.root]:
            raise StorageError(f"{self.uri} is a file; expected a directory or a prefix")
        return {
            os.path.basename(entry["name"]): int(entry["size"])
            for entry in entries
            if entry["type"] == "file"
        }

    def read(self, name: str) -> bytes | None:
        """The file's bytes; None if it is not there."""
        with self._failing(f"read {name} from"):
            try:
                data: bytes = self.fs.cat_file(self.path(name))
            except FileNotFoundError:
                return None
            return data

    def create(self, name: str, data: bytes) -> bool:
        """Writes the file unless it is there; False if it was. StorageError leaves nothing."""
        with self._failing(f"write {name} to"):
            return self._link(name, data) if self.local else self._put_new(name, data)

    def replace(self, name: str, data: bytes) -> None:
        """Writes the file, over an earlier one if there is one."""
        with self._failing(f"write {name} to"):
            if not self.local:
                self.fs.pipe_file(self.path(name), data)
                return
            aside = self._write_aside(data)
            try:
                os.replace(aside, self.path(name))
            finally:
                aside.unlink(missing_ok=True)

    def _link(self, name: str, data: bytes) -> bool:
        aside = self._write_aside(data)
        try:
            os.link(aside, self.path(name))
        except FileExistsError:
            return False
        finally:
            aside.unlink(missing_ok=True)
        return True

    def _put_new(self, name: str, data: bytes) -> bool:
        try:
            self.fs.pipe_file(self.path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def _write_aside(self, data: bytes) -> Path:
        os.makedirs(self.root, exist_ok=True)
        aside = Path(self.root) / f".aside-{uuid.uuid4().hex}"
        try:
            with aside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        return aside

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Whatever the file system below raises, as a StorageError: fsspec's kinds have no
        common base (s3fs without credentials raises botocore's own)."""
        try:
            yield
        except Exception as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"cannot {what} {self.uri}: no space left; what is there is whole: free "
                    "space, or choose another place, and run the same command again"
                ) from error
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            raise StorageError(
                f"cannot {what} {self.uri}: {reason}; expected a place that can be read and written"
            ) from error
