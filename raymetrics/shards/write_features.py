"""Write features that are in memory as a sealed shard set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from raymetrics.errors import StorageError
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec, open_for_writing
from raymetrics.shards.schema import Column
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

MEMORY = "memory"  # the source of such a set, whose images cannot be made again


def write_features(
    place: str,
    columns: Sequence[Column],
    extractor: Mapping[str, object],
    features: Mapping[str, np.ndarray],
    *,
    file: Mapping[str, object] | None = None,
    class_names: Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
    source: str = MEMORY,
    shard_rows: int = 2048,
) -> ShardSet:
    """Write features {column name: float32 [n, d]} as samples 0 to n - 1 of a new shard set.

    extractor: its specification. file: of its weights. source: where the features are from.
    StorageError if something is there already.
    """
    store = Store(place)
    if store.names():
        raise StorageError(f"{place} is not empty; write to a folder of its own")
    name = str(extractor["name"])
    count = len(next(iter(features.values())))
    spec = DatasetSpec(
        source=source,
        generator={"name": MEMORY, "features_sha256": _digest(features)},
        extractors=[dict(extractor)],
        columns=tuple(columns),
        class_names={name: tuple(class_names)} if class_names else {},
        labels=False,
        shard_rows=shard_rows,
        samples=(range(count),),
        extractor_texts=(name,),
        files={name: dict(file)} if file else {},
        image_size=image_size,
    )
    open_for_writing(store, spec)
    for start in range(0, count, shard_rows):
        ids = np.arange(start, min(start + shard_rows, count))
        rows = {column.name: features[column.name][ids] for column in columns}
        commit_shard(store, schema.to_table(columns, ids, None, rows), spec.fingerprint)
    return seal_set(open_shards(place))


def _digest(features: Mapping[str, np.ndarray]) -> str:
    hasher = hashlib.sha256()
    for name in sorted(features):
        hasher.update(name.encode())
        hasher.update(np.ascontiguousarray(features[name]).data)
    return hasher.hexdigest()
