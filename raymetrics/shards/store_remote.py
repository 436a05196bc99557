"""What s3fs and gcsfs are told, and files in object stores that are read in ranges."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import fsspec

_S3_SCHEMES, _GCS_SCHEMES = ("s3", "s3a"), ("gs", "gcs")
# Seconds without a byte after which a connection is given up. s3fs would also try on its own, up
# to 125 times; here it is the store that tries again.
_S3_CONFIG = {"connect_timeout": 20, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
_MAX_PUT_BYTES = 5 * 2**30  # bytes; S3 takes no more in one request
_MIN_UPLOAD_SPEED = 2**20  # bytes a second below which an upload is given up


def storage_options(uri: str) -> dict[str, Any]:
    """Return options for making a file system, beside those of the user's fsspec configuration."""
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    fs_options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in _S3_SCHEMES:
        user_configs = [
            fsspec.config.conf.get(name, {}).get("config_kwargs", {}) for name in _S3_SCHEMES
        ]
        fs_options["config_kwargs"] = {**_S3_CONFIG, **user_configs[0], **user_configs[1]}
    return fs_options


def disable_s3fs_retries(fs: Any) -> None:
    """Let s3fs try every request once, as the store repeats requests itself.

    s3fs has no option for that.
    """
    if set(_S3_SCHEMES) & set(fs.protocol):
        fs.retries = 1


def upload_options(fs: Any, size: int) -> dict[str, Any]:
    """Return options of `pipe_file` for one request with the whole file, and a limit of its time.

    One request leaves no parts behind when a worker dies, and is refused as a whole when the file
    is there. Above 5 GiB s3fs sends parts, and it depends on the store whether the request that
    joins them looks for an earlier file. A connection whose other end sleeps would never end.
    """
    if not getattr(fs, "async_impl", False):
        return {}
    whole = set(fs.protocol) & {*_S3_SCHEMES, *_GCS_SCHEMES} and 0 < size < _MAX_PUT_BYTES
    return {"timeout": 60 + size / _MIN_UPLOAD_SPEED, **({"chunksize": size + 1} if whole else {})}


class RangedFile(io.RawIOBase):
    """A file of known size whose bytes are asked for when they are read, and not before."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        """fetch: the bytes from a first to before a last."""
        super().__init__()
        self._fetch, self._size, self._at = fetch, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        rest = max(0, self._size - self._at)
        count = rest if size is None or size < 0 else min(size, rest)
        data = self._fetch(self._at, self._at + count) if count else b""
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
