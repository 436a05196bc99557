"""A directory or an object-store prefix, where a file is there whole or not at all.

Locally a file is written aside, synced, and linked under its name; on an object store it is
one conditional PUT. Either way the first writer wins, and a reader never sees a part. (A store that
does not know conditions keeps the last of two equal shards.)

A store that is slow, overloaded or away is tried again for `store_retries.retry_seconds`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raymetrics.errors import RaymetricsError, StorageError, StorageUnavailable
from raymetrics.files import TEMPORARY_PREFIX, require_file_or_folder, temporary_file
from raymetrics.shards import store_remote
from raymetrics.shards.store_retries import (
    advice,
    backoff,
    http_status,
    is_full,
    is_transient,
    reason,
    retry_seconds,
    s3_error_code,
)
from raymetrics.uris import require_complete_uri, require_no_secret

T = TypeVar("T")

_MAX_REQUESTS = 10  # requests in flight, as many as botocore keeps connections
_STALE_SECONDS = 86_400  # nobody writes for that long
WARN_AFTER = 10.0  # seconds of an outage

log = logging.getLogger(__name__)


class Store:
    """Files by name under `uri`: a path, file://, s3:// or any scheme that fsspec knows.

    retries: how often a request was made again, in this process. StorageError for what will not
    get better, StorageUnavailable for what may.
    """

    def __init__(self, uri: str) -> None:
        require_complete_uri(require_no_secret(uri, StorageError), StorageError)
        self.uri = uri.rstrip("/") or uri
        self.retries, self.retry_seconds = 0, retry_seconds()
        try:
            self.fs, self.root = fsspec.core.url_to_fs(
                self.uri, **store_remote.storage_options(self.uri)
            )
        except ImportError as error:
            raise StorageError(
                f"cannot use {self.uri}: {error}, on every machine that is to use it"
            ) from None
        except ValueError as error:
            raise StorageError(
                f"cannot use {uri!r}: {error}; expected a path or an s3:// prefix"
            ) from None
        store_remote.disable_s3fs_retries(self.fs)
        self.local = isinstance(self.fs, LocalFileSystem)
        # A relative path means another place in another process.
        self.absolute_uri = self.root if self.local else self.uri

    def __str__(self) -> str:
        return self.uri

    def path(self, name: str) -> str:
        """Return the full path of the file `name` in the file system below."""
        return f"{self.root}/{name}"

    def require_usable(self) -> None:
        """Raise StorageError if files cannot be looked for here, before any slow work.

        Asks an object store for one file, as a listing may be long.
        """
        if self.local:
            self.names()
        else:
            self.read("dataset.json")

    def names(self) -> dict[str, int]:
        """List the files directly under the prefix and their bytes; empty if there is no prefix.

        Some object stores list a file only some time after it can be read: see `find_existing`.
        """
        self.fs.invalidate_cache()
        ls = partial(self.fs.ls, self.root, detail=True)
        entries = self._none_if_missing("list", ls) or []
        if [entry["name"] for entry in entries if entry["type"] == "file"] == [self.root]:
            raise StorageError(f"{self.uri} is a file; expected a directory or a prefix")
        return {
            os.path.basename(entry["name"]): self._size(entry)
            for entry in entries
            if entry["type"] == "file"
        }

    def find_existing(self, names: Iterable[str]) -> set[str]:
        """Return those of these files that can be read, listed or not; one request for each."""

        def can_be_read(name: str) -> bool:
            first = partial(self._read_range, name, 0, 1)
            return self._none_if_missing(f"look for {name} in", first) is not None

        candidates = list(names)
        with ThreadPoolExecutor(_MAX_REQUESTS) as threads:
            readable = threads.map(can_be_read, candidates)
            return {
                name for name, is_readable in zip(candidates, readable, strict=True) if is_readable
            }

    def read(self, name: str) -> bytes | None:
        """Read a file; None if it does not exist. Raise StorageError for a device or a pipe."""
        self._require_data(name)
        return self._none_if_missing(
            f"read {name} from", partial(self.fs.cat_file, self.path(name))
        )

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading at any place. Raise FileNotFoundError if it does not exist."""
        action = f"read {name} from"
        self._require_data(name)
        if self.local:
            return cast(IO[bytes], open(self.path(name), "rb"))
        info = self._none_if_missing(action, partial(self.fs.info, self.path(name)))
        if info is None:
            raise FileNotFoundError(f"there is no {name} in {self.uri}")

        def fetch(start: int, stop: int) -> bytes:
            return self._with_retries(action, partial(self._read_range, name, start, stop))

        return cast(IO[bytes], store_remote.RangedFile(fetch, self._size(info)))

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it exists; False if it did. A StorageError leaves no part of it.

        False also if an earlier attempt of ours was written although the store called it failed:
        that file is whole, and is what we wanted to write.
        """
        put = self._link if self.local else self._put_new
        return self._with_retries(f"write {name} to", partial(put, name, data))

    def replace(self, name: str, data: bytes) -> None:
        """Write a file, and replace an earlier one."""
        put = self._move if self.local else self._put
        self._with_retries(f"write {name} to", partial(put, name, data))

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        self._none_if_missing(f"remove {name} from", partial(self.fs.rm_file, self.path(name)))

    def _size(self, entry: Mapping[str, Any]) -> int:
        """Return the bytes of a listed file. Raise StorageError if the listing has no sizes."""
        if entry.get("size") is None:
            raise StorageError(
                f"{self.uri} does not tell the size of {os.path.basename(entry['name'])}, as web "
                "servers need not; copy the files to a disk or an object store, and name that"
            )
        return int(entry["size"])

    def _none_if_missing(self, action: str, attempt: Callable[[], T]) -> T | None:
        """Return the result of an attempt, or None for a missing file.

        A missing bucket is an error.
        """

        def attempt_or_none() -> T | None:
            try:
                return attempt()
            except FileNotFoundError as error:
                if s3_error_code(error) == "NoSuchBucket":
                    raise
                return None

        return self._with_retries(action, attempt_or_none)

    def _with_retries(self, action: str, attempt: Callable[[], T]) -> T:
        """Return the result of an attempt, which is repeated after transient failures."""
        sleeps, warned = backoff(self.retry_seconds), False
        while True:
            try:
                return attempt()
            except Exception as error:
                if not is_transient(error):
                    raise self._permanent_error(action, error) from error
                failure = error
            waited = next(sleeps, None)
            if waited is None:
                raise StorageUnavailable(
                    f"cannot {action} {self.uri}: {reason(failure)}; tried for "
                    f"{self.retry_seconds:.0f} s; what is there is whole: run the same "
                    "command again when the store answers"
                ) from failure
            self.retries += 1
            if waited > WARN_AFTER and not warned:
                warned = True
                log.warning("cannot %s %s yet: %s; trying on", action, self.uri, reason(failure))

    def _permanent_error(self, action: str, error: Exception) -> RaymetricsError:
        """Return our error for one that is not transient."""
        if is_full(error):
            return StorageUnavailable(
                f"cannot {action} {self.uri}: no space left; what is there is whole: free "
                "space, or choose another place, and run the same command again"
            )
        return StorageError(f"cannot {action} {self.uri}: {reason(error)}; {advice(error)}")

    def _require_data(self, name: str) -> None:
        if self.local:
            require_file_or_folder(self.path(name))

    def _read_range(self, name: str, start: int, stop: int) -> bytes:
        return self.fs.cat_file(self.path(name), start=start, end=stop)

    def _link(self, name: str, data: bytes) -> bool:
        with temporary_file(Path(self.root), data) as temporary:
            try:
                os.link(temporary, self.path(name))
            except FileExistsError:
                return False
        return True

    def _move(self, name: str, data: bytes) -> None:
        with temporary_file(Path(self.root), data) as temporary:
            os.replace(temporary, self.path(name))

    def _put_new(self, name: str, data: bytes) -> bool:
        try:
            self._put(name, data, mode="create")
        except Exception as error:
            # 412: the condition. s3fs knows it by a field of the answer that only AWS sends.
            if isinstance(error, FileExistsError) or http_status(error) == 412:
                return False
            raise
        return True

    def _put(self, name: str, data: bytes, **mode: str) -> None:
        one_request = store_remote.upload_options(self.fs, len(data))
        self.fs.pipe_file(self.path(name), data, **mode, **one_request)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove temporary files of processes that were killed in the middle of a write."""
    for temporary in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):  # somebody else was faster
            if time.time() - temporary.stat().st_mtime > _STALE_SECONDS:
                temporary.unlink()
