"""The shards of a plan as a source of Ray Data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from raymetrics.distributed.extraction.planned_shards import PlannedShard
from raymetrics.distributed.extraction.stream_control import StreamControl, wait_until_admitted


class ShardSource(Datasource):
    """The shards of a plan as a source of Ray Data: one task, one block per shard.

    The task makes them as the stream asks for them, so that a plan may be endless.
    """

    def __init__(self, shards: Iterable[PlannedShard], control: StreamControl) -> None:
        self.arguments = (shards, control)

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: the size is unknown."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Return the one task."""
        arguments = self.arguments
        nothing_known = BlockMetadata(
            num_rows=None, size_bytes=None, input_files=None, exec_stats=None
        )
        return [ReadTask(lambda: _shard_tables(*arguments), nothing_known)]


def _shard_tables(shards: Iterable[PlannedShard], control: StreamControl) -> Iterator[pa.Table]:
    """Yield one row per shard, as soon as the control lets it in."""
    for number, shard in enumerate(shards):
        if not wait_until_admitted(control, number):
            return
        row = {"target": shard.target, "first": shard.ids.start, "stop": shard.ids.stop}
        yield pa.table({name: [value] for name, value in row.items()})


def parse_shard(row: dict[str, np.ndarray]) -> PlannedShard:
    """Return the shard of a row of the source."""
    target, first, stop = (int(row[name][0]) for name in ("target", "first", "stop"))
    return PlannedShard(target, range(first, stop))
