"""Commit shards, and seal a complete set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from raymetrics import sample_ranges
from raymetrics.errors import ShardError
from raymetrics.provenance import fingerprint, software_environment
from raymetrics.shards import schema
from raymetrics.shards.layout import MANIFEST, WRITE_CHECKS, read_spec, shard_name
from raymetrics.shards.shard_set import ShardSet, open_shards
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


def seal_set(shards: ShardSet, devices: Sequence[str] = ()) -> ShardSet:
    """Write manifest.json from the shards, and return the sealed set.

    shards: as they have just been listed. devices: on which shards were made in this run; those of
    an earlier seal are kept. Returns the set without a seal if another writer has just asked for
    more of its samples; that writer seals it. ShardError unless the set is complete and every shard
    is of it.
    """
    for _ in range(WRITE_CHECKS):
        manifest = _manifest(shards.require_complete(), devices)
        shards.store.replace(MANIFEST, json.dumps(manifest, indent=1).encode())
        sealed = _reread(shards)
        if sealed.seal is not None or sealed.missing:
            return sealed
        shards = open_shards(shards.uri)  # another writer has sealed other shards
    return shards


def _reread(shards: ShardSet) -> ShardSet:
    """Return the set with what its JSON files now say, without a listing.

    A listing would tell no more. Another writer can only make other shards of samples that the set
    lacked when it was listed, or of samples that the writer has added to dataset.json since.
    """
    spec = read_spec(shards.store)
    return replace(shards, spec=shards.spec if spec is None else spec)


def _manifest(shards: ShardSet, devices: Sequence[str]) -> dict[str, object]:
    """Return the contents of the seal of a set."""
    digests = shards.footer_digests()
    left_out = {str(sample): why for sample, why in shards.footer_left_out().items()}
    return {
        "fingerprint": shards.spec.fingerprint,
        "samples": [sample_ranges.format_range(ids) for ids in shards.spec.samples],
        "rows": len(shards),
        "digest": fingerprint(digests),
        "shards": digests,
        **({"left_out": left_out} if left_out else {}),
        "devices": sorted({*shards.manifest.get("devices", ()), *devices}),
        "made_on": shards.machine_kinds(),
        "sealed_by": software_environment(),
    }
