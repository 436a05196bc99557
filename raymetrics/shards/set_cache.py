"""The cache of the shard sets that an evaluation extracts from its sources.

It is a folder with one shard set for each source and choice of extractors, named by the set's
fingerprint: a source that has changed gets another folder, and more samples of one are added to
its folder.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from raymetrics import sample_ranges
from raymetrics.errors import RaymetricsError, ShardError, StorageError
from raymetrics.shards.layout import FINGERPRINT_PLACEHOLDER, holds_shard_set, read_spec
from raymetrics.shards.shard_files import shard_ranges
from raymetrics.shards.store import Store

_MAX_NAME_LENGTH = 40  # of the readable part of a folder's name


@dataclass(frozen=True)
class CachedSet:
    """A shard set in the cache. problem: why it cannot be read; "" if it can."""

    path: Path
    source: str
    extractors: tuple[str, ...]
    samples: int
    size: int  # bytes
    problem: str = ""


def cache_folder() -> Path:
    """Return the folder of the cache: $RAYMETRICS_CACHE, or ~/.cache/raymetrics/shards."""
    default = Path.home() / ".cache" / "raymetrics" / "shards"
    return Path(os.environ.get("RAYMETRICS_CACHE") or default)


def set_place(folder: str, source: str) -> str:
    """Return where the set of a source goes in a folder of sets.

    The place ends in `FINGERPRINT_PLACEHOLDER`, which stands for the fingerprint of the set.
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", source.rpartition("/")[2]).strip("-.")
    return f"{folder}/{readable[:_MAX_NAME_LENGTH] or 'set'}-{FINGERPRINT_PLACEHOLDER}"


def list_cached_sets(folder: Path) -> list[CachedSet]:
    """Return the sets in a cache, by name; none if there is no such folder."""
    if not folder.is_dir():
        return []
    places = sorted(path for path in folder.iterdir() if path.is_dir())
    return [_describe_set(path) for path in places if _is_set(path)]


def remove_cached_sets(folder: Path, names: tuple[str, ...] = ()) -> list[CachedSet]:
    """Remove the named sets from a cache, or all; return what was removed.

    Only folders that hold a shard set are removed. RaymetricsError for a name that is not there.
    """
    cached = {cached_set.path.name: cached_set for cached_set in list_cached_sets(folder)}
    for name in names:
        if name not in cached:
            present = ", ".join(cached) or "nothing"
            raise RaymetricsError(f"no set {name!r} in {folder}; it holds {present}")
    chosen = [cached[name] for name in names or cached]
    for cached_set in chosen:
        try:
            shutil.rmtree(cached_set.path)
        except OSError as error:
            raise StorageError(f"cannot remove {cached_set.path}: {error}") from None
    return chosen


def _is_set(path: Path) -> bool:
    return holds_shard_set(Store(str(path))) or bool(shard_ranges(Store(str(path)).names()))


def _describe_set(path: Path) -> CachedSet:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    store = Store(str(path))
    samples = sample_ranges.count_ids(sample_ranges.union(shard_ranges(store.names())))
    try:
        spec = read_spec(store)
    except ShardError as error:
        return CachedSet(path, "", (), samples, size, str(error))
    if spec is None:
        return CachedSet(path, "", (), samples, size, "it has no dataset.json")
    return CachedSet(path, spec.source, spec.extractor_texts, samples, size)
