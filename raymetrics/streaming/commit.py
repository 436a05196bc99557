"""The last stage of extraction. Apart from the others, so that its worker loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raymetrics.errors import ShardError, SpecMismatch
from raymetrics.shards import schema
from raymetrics.shards.layout import read_spec
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit

DEVICE = b"device"  # in the metadata of the tables that reach this stage
PADDING = -1  # the first sample id of a unit that only fills a short shard up
TARGET = "target"  # in units and in that metadata: of which set of the stream
UNIT = "unit"


@dataclass(frozen=True)
class Place:
    """Where a set is, what it must be, and its planned shards, ascending."""

    uri: str
    fingerprint: str
    planned: Iterable[range]


def packed(table: pa.Table | None) -> pa.Table:
    """A unit's samples as one row, so that Ray cuts the stream between units and nowhere else.

    None: a unit that holds nothing.
    """
    sink = pa.BufferOutputStream()
    if table is not None:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    data = sink.getvalue()
    ends = pa.py_buffer(np.array([0, data.size], np.int64))
    return pa.table({UNIT: pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, data])})


def unpacked(units: pa.Table) -> pa.Table:
    """The samples of many units."""
    buffers = [unit.as_buffer() for unit in units[UNIT]]
    tables = [pa.ipc.open_stream(buffer).read_all() for buffer in buffers if buffer.size]
    # Only the first one's metadata is kept: the devices of one shard are told as one.
    return pa.concat_tables([table.cast(tables[0].schema) for table in tables])


class CommitShard:
    """A stage: the units of one shard to {"target", "first", "rows", "made", "device"}; made is 0
    if it was there. With the name of a column of logits also "classes", int64 [1, rows]: the Top-1
    ones."""

    def __init__(self, places: Sequence[Place], logits: str | None = None) -> None:
        self.sets, self.logits = [SetInProgress(place) for place in places], logits

    def __call__(self, units: pa.Table) -> dict[str, Any]:
        """units: of one planned shard, and any number that hold nothing."""
        rows = unpacked(units)
        told = rows.schema.metadata or {}
        target = int(told.get(TARGET.encode(), b"0"))
        sample_ids = schema.to_numpy(rows[schema.SAMPLE_ID]).tolist()
        made = self.sets[target].commit(rows, sample_ids)
        row = {
            TARGET: [target],
            "first": [sample_ids[0]],
            "rows": [rows.num_rows],
            "made": [int(made)],
            "device": [told.get(DEVICE, b"unknown").decode()],
        }
        if self.logits is None:
            return row
        return {**row, "classes": top1(schema.to_numpy(rows[self.logits]))[None]}


class SetInProgress:
    """A set to which planned shards are written."""

    def __init__(self, place: Place) -> None:
        self.store, self.fingerprint = Store(place.uri), place.fingerprint
        self.planned = place.planned
        self._rest = iter(self.planned)
        self._next = next(self._rest, None)

    def commit(self, rows: pa.Table, sample_ids: list[int]) -> bool:
        """Whether it was not there already. ShardError or SpecMismatch for what is not its own."""
        self.require_planned(sample_ids)
        self.require_same_set()
        return commit(self.store, rows, self.fingerprint)

    def require_same_set(self) -> None:
        """SpecMismatch if somebody else has begun another set here since this one was begun."""
        there = read_spec(self.store)
        if there is None or there.fingerprint != self.fingerprint:
            raise SpecMismatch(
                f"{self.store} became another set while this one was made; nothing of this one "
                "was written to it: extract to a place of its own"
            )

    def require_planned(self, sample_ids: list[int]) -> None:
        """ShardError unless these are the ids of a planned shard, in order."""
        planned = self._planned_from(sample_ids[0]) if sample_ids else None
        if planned is None or sample_ids != list(planned):
            found = f"{sample_ids[0]}-{sample_ids[-1]}" if sample_ids else "none"
            raise ShardError(
                f"the stream gave {len(sample_ids)} samples {found} for one shard of {self.store}, "
                f"planned was {planned}; nothing was written, and the same command tries again"
            )

    def _planned_from(self, first: int) -> range | None:
        """The planned shard that begins there or later; they are asked for in order, but after a
        fault an earlier one may come again."""
        if self._next is None or self._next.start > first:
            self._rest = iter(self.planned)
            self._next = next(self._rest, None)
        while self._next is not None and self._next.start < first:
            self._next = next(self._rest, None)
        return self._next


def top1(logits: np.ndarray) -> np.ndarray:
    """logits [n, classes] -> int64 [n]; of equal ones the first class, as in the histogram."""
    return logits.argmax(axis=1)
