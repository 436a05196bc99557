"""Seal a complete set: write manifest.json, which names every shard and its digest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from raymetrics import sample_ranges
from raymetrics.provenance import fingerprint, software_environment
from raymetrics.shards.layout import MANIFEST, WRITE_CHECKS, read_spec
from raymetrics.shards.shard_set import ShardSet, open_shards


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
