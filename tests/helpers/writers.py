"""Write to a set like an extraction, without Ray and networks, also from several processes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.set_in_progress import SetInProgress
from raymetrics.distributed.extraction.shard_record import ShardRecord
from raymetrics.distributed.extraction.stream_plan import ShardOutcome
from raymetrics.distributed.extraction.usage import StreamUsage
from raymetrics.distributed.resources import ModelSizes
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.overlaps import overlapping_groups
from raymetrics.shards.shard_files import all_shard_ranges
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writer import commit_shard

COLUMNS = schema.make_columns("made-up", {"pre_logits": 2})
NAME = COLUMNS[0].name
SPEC = DatasetSpec(
    source="numbers",
    generator={"name": "numbers"},
    extractors=[{"name": "made-up", "resize": "none"}],
    columns=COLUMNS,
    class_names={},
    labels=False,
    shard_rows=16,
    samples=(range(1),),
    extractor_texts=("made-up",),
)


def values(sample_ids: np.ndarray) -> np.ndarray:
    return np.stack([sample_ids, sample_ids**2], axis=1).astype(np.float32)


def table(ids: range) -> pa.Table:
    sample_ids = np.arange(ids.start, ids.stop)
    return schema.to_table(COLUMNS, sample_ids, None, {NAME: values(sample_ids)})


def extend_set(
    uri: str, samples: range, pause: Callable[[], None] = lambda: None, machine: str = "here"
) -> None:
    """Make the samples that the set lacks, as an extraction does. pause: between steps."""
    store, spec = Store(uri), replace(SPEC, samples=(samples,))
    names = store.names()
    pause()
    set_in_progress = SetInProgress.begin(store, spec, names, "", ModelSizes(0, 0), 0)
    for ids in set_in_progress.todo:
        pause()
        written = commit_shard(
            set_in_progress.store, table(ids), set_in_progress.spec.fingerprint, made_on=[machine]
        )
        set_in_progress.add(
            ShardOutcome(ShardRecord(0, ids.start, len(ids), device="cpu", bytes_written=written))
        )
    pause()
    set_in_progress.finish(StreamUsage())


def write_in_a_process(uri: str, samples: range, seed: int) -> None:
    draw = random.Random(seed)
    extend_set(uri, samples, lambda: time.sleep(draw.random() * 0.004))


def draw_ranges(draw: random.Random) -> list[range]:
    """Return two to four ranges, which mostly touch or overlap."""
    firsts = [draw.randrange(0, 40) for _ in range(draw.randint(2, 4))]
    return [range(first, first + draw.randint(1, 40)) for first in firsts]


def require_whole(uri: str, wanted: list[range]) -> None:
    """Require that the set is sealed and has the wanted samples with the right values.

    Its shards must not overlap.
    """
    shards = open_shards(uri)
    assert shards.seal is not None
    assert list(shards.spec.samples) == sample_ranges.union(wanted)
    ids = View.from_shards(shards).sample_ids
    assert set().union(*wanted) == set(ids.tolist())
    np.testing.assert_array_equal(shards.read(NAME), values(ids))
    assert overlapping_groups(all_shard_ranges(shards.store.names())) == []
    shards.verify()
