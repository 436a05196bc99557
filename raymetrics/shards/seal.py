"""Seal a complete set: write manifest.json, which names every shard and its digest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress

from raymetrics import sample_ranges
from raymetrics.errors import ShardError
from raymetrics.provenance import fingerprint, software_environment
from raymetrics.shards.layout import MANIFEST, WRITE_CHECKS, read_spec
from raymetrics.shards.overlaps import overlapping_groups
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store


def seal_set(shards: ShardSet, devices: Sequence[str] = ()) -> ShardSet:
    """Write manifest.json from the shards, and return the set, listed anew.

    shards: as they have just been listed. devices: on which shards were made in this run; those of
    an earlier seal are kept. Another writer who seals in the same moment may write over this seal
    what he listed before. So the set is listed after it, and sealed again if the seal is false.
    ShardError unless the set is complete and every shard is of it.
    """
    for _ in range(WRITE_CHECKS):
        _write_manifest(shards.require_complete(), devices)
        shards = open_shards(shards.uri)
        if shards.seal is not None:
            break
    return shards


def seal_expected(
    store: Store, files: Iterable[range], samples: Iterable[range], devices: Sequence[str]
) -> None:
    """Write manifest.json for the set as it is if nobody else has written into it.

    Whoever calls this lists the set afterwards, and calls `seal_set` if the seal is false. So a
    single writer lists a set once to seal it.

    files: the shards that were there before, and those of this run. samples: those that this run
    was to make. Writes nothing for a set that is not complete, or that overlaps, or of which a
    shard cannot be read.
    """
    files, spec = tuple(files), read_spec(store)
    if spec is None or overlapping_groups(files):
        return
    expected = ShardSet(store, spec, tuple(sorted(files, key=lambda ids: ids.start)))
    if expected.missing or sample_ranges.subtract(samples, spec.samples):
        return
    with suppress(ShardError):  # the listing shows what is wrong
        _write_manifest(expected, devices)


def seal_holds(shards: ShardSet) -> bool:
    """Return whether the set is sealed, with all samples that it now has."""
    return shards.seal is not None and shards.seal.get("samples") == _format_samples(shards)


def _write_manifest(shards: ShardSet, devices: Sequence[str]) -> None:
    manifest = _manifest(shards, devices)
    shards.store.replace(MANIFEST, json.dumps(manifest, indent=1).encode())


def _manifest(shards: ShardSet, devices: Sequence[str]) -> dict[str, object]:
    """Return the contents of the seal of a set."""
    digests = shards.footer_digests()
    left_out = {str(sample): why for sample, why in shards.footer_left_out().items()}
    return {
        "fingerprint": shards.spec.fingerprint,
        "samples": _format_samples(shards),
        "rows": len(shards),
        "digest": fingerprint(digests),
        "shards": digests,
        **({"left_out": left_out} if left_out else {}),
        "devices": sorted({*shards.manifest.get("devices", ()), *devices}),
        "made_on": shards.machine_kinds(),
        "sealed_by": software_environment(),
    }


def _format_samples(shards: ShardSet) -> list[str]:
    return [sample_ranges.format_range(ids) for ids in shards.spec.samples]
