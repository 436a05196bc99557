"""Worlds whose perceptual null space is known: classes that one of two spaces does not see."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec, create_or_extend_spec
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

HEADLINE, SECOND = "classifier", "onlooker"
EVEN, UNEVEN = (0.4, 0.3, 0.3), (0.1, 0.2, 0.7)
# What both spaces see. With many dimensions the bias of few samples, which is all that a space sees
# of equal sets, differs little between draws.
_VISIBLE = 24
_ROTATION, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(_VISIBLE, _VISIBLE)))


def write_world(
    folder: Path,
    rng: np.random.Generator,
    count: int,
    *,
    rates: tuple[float, ...] = EVEN,
    shift: float = 0.0,
    spaces: tuple[str, ...] = (HEADLINE, SECOND),
    resize: str = "none",
) -> ShardSet:
    """Write the features of samples whose class and whose visible part are independent.

    The headline space has the visible part and the class; the second space has the visible part,
    rotated. rates: of the classes, which the second space cannot see. shift: of the visible
    part, which both see.
    """
    classes = rng.choice(3, count, p=rates)
    visible = rng.normal(size=(count, _VISIBLE))
    visible[:, 0] += shift
    class_part = 4 * np.eye(3)[classes] + rng.normal(0, 0.1, (count, 3))
    features = {
        HEADLINE: {"pre_logits": np.hstack([visible, class_part]), "logits": class_part},
        SECOND: {"features": visible @ _ROTATION},
    }
    # Audits draw with the seeds 0, 1, ...: a world of the same seed would go with the draws.
    return _write_set(str(folder), {name: features[name] for name in spaces}, resize)


def _write_set(
    uri: str, features: dict[str, dict[str, np.ndarray]], resize: str, shard_rows: int = 500
) -> ShardSet:
    """Write a sealed set of several feature spaces, {extractor: {output: [n, d]}}."""
    columns = tuple(
        column
        for name, outputs in features.items()
        for column in schema.make_columns(name, {o: x.shape[1] for o, x in outputs.items()})
    )
    count = len(next(iter(next(iter(features.values())).values())))
    spec = DatasetSpec(
        source="numbers",
        generator={"name": "numbers"},
        extractors=[{"name": name, "resize": resize} for name in features],
        columns=columns,
        class_names={HEADLINE: ["ant", "bee", "cat"]},
        labels=False,
        shard_rows=shard_rows,
        samples=(range(count),),
        extractor_texts=tuple(features),
    )
    store = Store(uri)
    create_or_extend_spec(store, spec)
    values = {c.name: features[c.extractor][c.output].astype(np.float32) for c in columns}
    for start in range(0, count, shard_rows):
        rows = slice(start, min(start + shard_rows, count))
        table = schema.to_table(
            columns, np.arange(rows.start, rows.stop), None,
            {name: value[rows] for name, value in values.items()},
        )  # fmt: skip
        assert commit_shard(store, table, spec.fingerprint)
    return seal_set(open_shards(uri))
