"""Commit a shard: write it whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from raymetrics.errors import ShardError
from raymetrics.shards import schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.store import Store


def commit_shard(
    store: Store,
    table: pa.Table,
    set_fingerprint: str,
    left_out: Mapping[int, str] | None = None,
    made_on: Sequence[str] = (),
) -> int:
    """Write one shard, whole or not at all; return its bytes, or 0 if it existed already.

    The table must hold every id of one range in ascending
    order, but for those that are `left_out` because of what is said there: a lost block never
    becomes a short shard. made_on: the kinds of machine.
    """
    left_out = left_out or {}
    sample_ids = schema.to_numpy(table[schema.SAMPLE_ID])
    all_ids = np.sort(np.concatenate([sample_ids, np.array([*left_out], np.int64)]))
    ordered = (np.diff(sample_ids) > 0).all() and (np.diff(all_ids) == 1).all()
    if len(sample_ids) == 0 or not ordered:
        raise ShardError(
            f"a shard for {store} does not hold one unbroken range of sample ids "
            f"({len(sample_ids)} rows); nothing was written"
        )
    ids = range(int(all_ids[0]), int(all_ids[-1]) + 1)
    data = schema.encode_shard(table, set_fingerprint, ids, left_out=left_out, made_on=made_on)
    return len(data) if store.create(shard_name(ids), data) else 0
