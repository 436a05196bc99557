"""Shards of two extractions that cut a set differently at once: joined, so that other programs
count no sample twice.

Two who extend a set in the same moment list it, see the same gap, and cut it each to the ends of
their own samples: 16-29 and 16-31, or 20-31 and 16-29. No store can forbid that without locks. So
nothing depends on it: a reader takes each sample from one shard (`listing.shard_ranges`), whatever
lies there, as values of the same fingerprint are equal. But programs that read *.parquet know
nothing of that, and so whoever ends an extraction joins what overlaps: the shards that it should
have been, cut at the multiples of `shard_rows`, are written from the values that are there and read
back, and only then are the smaller ones removed.

Removing is safe. A shard goes only after larger ones that hold all of its samples were read, and
those go only for larger ones again: there is an end to that, and at every moment each sample is
in some shard. Who listed the smaller one before it went finds its samples by name, in the larger
one (`ShardSet.table`). Who is killed in the middle leaves shards that overlap, as before; the same
command, or any other extraction into the set, joins them.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from raymetrics import sample_ranges
from raymetrics.shards.layout import WRITE_CHECKS
from raymetrics.shards.shard_files import shard_name
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.writer import commit_shard


def join_overlapping(shards: ShardSet) -> ShardSet:
    """Join the shards that overlap, and return the set as it then is.

    shards: as they have just been listed. Raise ShardError, before anything is removed, if a shard
    is damaged.
    """
    for _ in range(WRITE_CHECKS):  # somebody else, who has seen less of it, may join them too
        groups = overlapping_groups(shards.files)
        if not groups:
            break
        for group in groups:
            _join_group(shards, group)
        shards = open_shards(shards.uri)
    return shards


def overlapping_groups(files: Sequence[range]) -> list[list[range]]:
    """Return the ranges that overlap with others, those together that do."""
    groups: list[list[range]] = []
    stop = -1
    for ids in sorted(files, key=lambda ids: (ids.start, ids.stop)):
        if ids.start >= stop:
            groups.append([])
        groups[-1].append(ids)
        stop = max(stop, ids.stop)
    return [group for group in groups if len(group) > 1]


def _join_group(shards: ShardSet, group: Sequence[range]) -> None:
    """Write the shards that the group should be, and remove all others of it."""
    store, whole = shards.store, range(group[0].start, max(ids.stop for ids in group))
    wanted_ranges = sample_ranges.split_at_multiples(whole, shards.spec.shard_rows)
    for ids in wanted_ranges:
        if ids not in group:
            _write_shard(shards, ids)
    # Read back, and held against the digests of their footers.
    ShardSet(store, shards.spec, tuple(wanted_ranges)).verify()
    for ids in group:
        if ids not in wanted_ranges:
            store.remove(shard_name(ids))


def _write_shard(shards: ShardSet, ids: range) -> None:
    """Write the shard of these samples from the pieces that hold them."""
    pieces = [p for p in shards.present if p.start < ids.stop and ids.start < p.stop]
    shared = [range(max(p.start, ids.start), min(p.stop, ids.stop)) for p in pieces]
    footers = [shards.footer(p).within(overlap) for p, overlap in zip(pieces, shared, strict=True)]
    tables = [shards.table(overlap) for overlap in shared]
    left_out = {int(sample): why for f in footers for sample, why in (f.left_out or {}).items()}
    machines = [machine for footer in footers for machine in footer.made_on]
    plain = [table.replace_schema_metadata(None) for table in tables]
    set_fingerprint = shards.spec.fingerprint
    commit_shard(shards.store, pa.concat_tables(plain), set_fingerprint, left_out, machines)
