"""The files of a shard set by their names, and which of its shards are there."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence

from raymetrics import sample_ranges
from raymetrics.shards.store import Store

DATASET = "dataset.json"
MANIFEST = "manifest.json"


def shard_name(ids: range) -> str:
    """Return the name of a shard: "samples-000000000000-000000002047.parquet" of range(0, 2048)."""
    return f"samples-{ids.start:012d}-{ids.stop - 1:012d}.parquet"


def shard_range(name: str) -> range | None:
    """Return the ids of a shard by its file's name; None for any other file."""
    match = re.fullmatch(r"samples-(\d{12})-(\d{12})\.parquet", name)
    return range(int(match[1]), int(match[2]) + 1) if match else None


def shard_ranges(names: Iterable[str]) -> list[range]:
    """Return the samples of the shards among `names` as pieces, ascending, each sample in one.

    A piece is what one shard holds, and mostly all of it. Two who extend a set at once may cut its
    end differently; the values are the same. So a shard whose samples are all in a larger one is
    left out, and of two that overlap in part the first one counts where they do.
    """
    pieces: list[range] = []
    for ids in sorted(all_shard_ranges(names), key=lambda ids: (ids.start, -ids.stop)):
        start = max(ids.start, pieces[-1].stop if pieces else 0)
        if start < ids.stop:
            pieces.append(range(start, ids.stop))
    return pieces


def all_shard_ranges(names: Iterable[str]) -> list[range]:
    """Return the range of every shard among `names`, whether they overlap or not."""
    return [ids for ids in map(shard_range, names) if ids]


def containing_shard(ids: range, names: Iterable[str]) -> range | None:
    """Return the first shard among `names` that holds all samples of a piece; None without one."""
    holds = [f for f in all_shard_ranges(names) if f.start <= ids.start and ids.stop <= f.stop]
    return min(holds, key=lambda f: (f.start, f.stop), default=None)


def present_ranges(
    store: Store, names: Collection[str], wanted: Sequence[range], shard_rows: int
) -> list[range]:
    """Return the existing pieces, see `shard_ranges` and `existing_names`."""
    return shard_ranges(existing_names(store, names, wanted, shard_rows))


def existing_names(
    store: Store, names: Collection[str], wanted: Sequence[range], shard_rows: int
) -> Collection[str]:
    """Return the names of the existing files, also of shards that the store does not list yet.

    names: what the store lists. An object store may list a file only some time after it can be
    read; so what is wanted and not listed is asked for by name: the names that manifest.json
    promises, and those that each wanted range is cut into. That is one request for every shard that
    is missing, ten at a time, and none if the listing is complete. Local listings are right.
    """
    listed = shard_ranges(names)
    if store.local or not sample_ranges.subtract(wanted, listed):
        return names
    by_name = {
        shard_name(shard)
        for ids in wanted
        for gap in sample_ranges.subtract([ids], listed)
        for shard in sample_ranges.split_at_multiples(gap, shard_rows)
    }
    unlisted = (by_name | _names_in_manifest(store)) - set(names)
    return {*names, *store.find_existing(sorted(unlisted))}


def _names_in_manifest(store: Store) -> set[str]:
    """Return the names of the shards in manifest.json; none without that file."""
    try:
        shards = json.loads(store.read(MANIFEST) or b"{}").get("shards")
    except (ValueError, AttributeError):
        return set()  # damaged: `extract` writes another
    return {name for name in shards if shard_range(name)} if isinstance(shards, dict) else set()
