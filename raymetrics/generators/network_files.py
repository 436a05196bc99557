"""Read a network's file from any place, and keep the network that was loaded last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import fsspec

from raymetrics.errors import SourceError
from raymetrics.files import require_file_or_folder

Network = TypeVar("Network")

_last_network: dict[Hashable, Any] = {}  # one network at most


def read_bytes(path: str) -> bytes:
    """Read all bytes of a file at a local path, or at any URI that fsspec opens.

    Raises SourceError if the file cannot be read, StorageError if it is a device or a pipe.
    """
    return read_start(path, -1)


def read_start(path: str, count: int) -> bytes:
    """Read the first `count` bytes of a file, or all if it is negative; see `read_bytes`."""
    require_file_or_folder(path)
    try:
        with fsspec.open(path, "rb") as file:
            return file.read(count)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"cannot read {path}: {type(error).__name__}: {error}") from None


def load_once(key: Hashable, load: Callable[[], Network]) -> Network:
    """Return the network of the last call if that call had the same key; else call `load`.

    key: everything that the network depends on, also its device. The caller must not change the
    network.

    A worker of a sweep generates the samples of several sources one after another, such as one
    network at ten strengths of truncation. The worker holds one generator at a time, and so loads
    the weights once.
    """
    if key not in _last_network:
        _last_network.clear()  # before the next one is loaded, as memory may not hold both
        _last_network[key] = load()
    network: Network = _last_network[key]
    return network
