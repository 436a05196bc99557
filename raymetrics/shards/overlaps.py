"""Join shards that overlap, so that other programs count no sample twice.

Shards overlap where two writers extend a set at once. Both list the set, see the same gap, and cut
it to the ends of their own samples: 16-29 and 16-31, or 20-31 and 16-29. No store can forbid that
without locks. A reader takes each sample from one shard (`shard_files.shard_ranges`), which may be
any, as values of the same fingerprint are equal. Programs that read *.parquet do not know that
rule. So an extraction that ends joins shards that overlap. It writes the shards as they should have
been, cut at the multiples of `shard_rows`, from the existing values; it reads them back; and then
it removes the smaller ones.

Removing is safe. A shard is removed only after larger ones with all of its samples were read, and
these are removed only for still larger ones. So there is an end to it, and at every moment each
sample is in some shard. A reader that listed a smaller shard before it was removed finds its
samples in the larger one (`ShardSet.table`). A writer that is killed in the middle leaves shards
that overlap, as before; the next extraction into the set joins them.
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
