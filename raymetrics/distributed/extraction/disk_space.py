"""Whether the disk of a shard set has room for it."""

from __future__ import annotations

import os
from pathlib import Path

from raymetrics.distributed.resources import format_bytes
from raymetrics.errors import InsufficientResources
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store


def row_bytes(spec: DatasetSpec) -> int:
    """Return the bytes of a sample: its features as float32, its id, and its label if any."""
    return 4 * sum(column.dimension for column in spec.columns) + 8 * (1 + spec.labels)


def free_bytes(store: Store) -> int | None:
    """Return the free bytes at a local place, which need not exist; None for an object store."""
    if not store.local:
        return None
    folder = Path(store.root)
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def require_disk_space(store: Store, size: int) -> None:
    """Raise InsufficientResources if so many bytes do not fit at a local place."""
    free = free_bytes(store)
    if free is not None and size > free:
        raise InsufficientResources(
            f"the shards to make take {format_bytes(size)}, {store} has {format_bytes(free)} free; "
            "free some, ask for fewer --samples or columns, or extract to another place"
        )
