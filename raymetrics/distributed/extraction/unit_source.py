"""The units of a plan as a source of Ray Data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from ray.data import Datasource, ReadTask
from ray.data.block import BlockMetadata

from raymetrics.distributed.extraction.work_units import Gate, PlannedShard, split_into_units


class UnitSource(Datasource):
    """The units of a plan as a source of Ray Data: one task, one block per unit."""

    def __init__(
        self, todo: Iterable[PlannedShard], batch: int, units_per_shard: int, gate: Gate | None
    ) -> None:
        self.arguments = (todo, batch, units_per_shard, gate)

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
        return [ReadTask(lambda: _unit_tables(*arguments), nothing_known)]


def _unit_tables(
    todo: Iterable[PlannedShard], batch: int, units_per_shard: int, gate: Gate | None
) -> Iterator[pa.Table]:
    """Yield one row per unit, as soon as the gate lets its shard in."""
    for number, units in enumerate(split_into_units(todo, batch, units_per_shard)):
        if gate is not None and not gate.admits(number):
            return
        for unit in units:
            yield pa.table({name: [value] for name, value in unit.items()})
