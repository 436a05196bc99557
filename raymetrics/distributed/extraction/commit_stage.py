"""The last stage of extraction, in a module of its own, so that its worker loads no torch."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.unit_record import COMMIT, UnitRecord, merge_records
from raymetrics.errors import (
    RaymetricsError,
    ShardError,
    SourceError,
    SpecMismatch,
    TemporaryFailure,
)
from raymetrics.shards import schema
from raymetrics.shards.layout import read_spec
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

PADDING_ID = -1  # the first sample id of a unit that only fills up a short shard
TARGET = "target"  # a field of units: the number of the set in the plan
_UNIT_COLUMN = "unit"  # the samples of a unit, as one value
RECORD_COLUMN = "record"  # how they were made, as JSON


@dataclass(frozen=True)
class ShardDestination:
    """The address of a set, its fingerprint, and its planned shards, ascending."""

    uri: str
    fingerprint: str
    planned_shards: Iterable[range]


def encode_unit(table: pa.Table | None, record: UnitRecord | None = None) -> pa.Table:
    """Return a unit's samples and their record as one row.

    Ray cuts a stream between rows, so it cuts this one between units only.

    table: None if the unit holds no sample. record: None for padding.
    """
    sink = pa.BufferOutputStream()
    if table is not None:
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
    data = sink.getvalue()
    ends = pa.py_buffer(np.array([0, data.size], np.int64))
    unit = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, data])
    return pa.table({_UNIT_COLUMN: unit, RECORD_COLUMN: [record.to_json() if record else ""]})


def _decode_unit(units: pa.Table) -> tuple[pa.Table | None, UnitRecord]:
    """Return the samples of many units, None if there are none, and the merged record."""
    buffers = [unit.as_buffer() for unit in units[_UNIT_COLUMN]]
    tables = [pa.ipc.open_stream(buffer).read_all() for buffer in buffers if buffer.size]
    texts = units[RECORD_COLUMN].to_pylist()
    record = merge_records([UnitRecord.from_json(text) for text in texts if text])
    return pa.concat_tables(tables) if tables else None, record


class CommitShard:
    """A stage from the units of a shard to a committed shard.

    Returns {"record", "made"}; made is 0 if the shard existed, or if it could not be made, which
    the record says. If `logits` names a column, also "classes", int64 [1, rows]: the Top-1 classes.

    max_left_out: how many samples that could not be made a committed shard may lack.
    """

    def __init__(
        self,
        destinations: Sequence[ShardDestination],
        logits: str | None = None,
        max_left_out: int = 0,
    ) -> None:
        self.logits, self.max_left_out = logits, max_left_out
        self.error: RaymetricsError | None = None
        self.sets: list[_SetWriter] = []
        try:
            self.sets = [_SetWriter(destination) for destination in destinations]
        except RaymetricsError as error:
            self.error = error  # raised by a call; an actor that dies here would be started again

    def __call__(self, units: pa.Table) -> dict[str, Any]:
        """Commit the units of one planned shard, with any number of padding units."""
        if self.error is not None:
            raise self.error
        start = time.monotonic()
        rows, record = _decode_unit(units)
        written = 0
        if record.failure is None:
            try:
                written = self._commit(rows, record)
            except TemporaryFailure:
                raise  # no other shard would fare better
            except RaymetricsError as error:
                record = record.with_failure(error)
        record = replace(
            record.with_time(COMMIT, time.monotonic() - start),
            bytes_written=written,
            store_retries=self.sets[record.target].new_retries(),
        )
        output = {RECORD_COLUMN: [record.to_json()], "made": [int(written > 0)]}
        if self.logits is None:
            return output
        if rows is None or record.failure is not None:
            return {**output, "classes": np.zeros((1, 1), np.int64)}  # read by nobody
        return {**output, "classes": top1_classes(schema.to_numpy(rows[self.logits]))[None]}

    def _commit(self, rows: pa.Table | None, record: UnitRecord) -> int:
        """Write the shard; return its bytes.

        Raises SourceError if too many samples are left out.
        """
        require_few_left_out(record.left_out, self.max_left_out)
        if rows is None:
            raise SourceError(
                f"none of the samples {sample_ranges.format_range(record.ids)} can be "
                f"made, the first: "
                f"{record.left_out[record.first]}"
            )
        return self.sets[record.target].commit(rows, record.left_out, record.made_on)


def require_few_left_out(left_out: Mapping[int, str], max_left_out: int) -> None:
    """Raise SourceError, which names the first sample, if too many samples are left out."""
    if len(left_out) > max_left_out:
        sample, why = min(left_out.items())
        counts = (
            f"{len(left_out)} samples cannot be made, at most {max_left_out} are to be left out; "
        )
        prefix = f"{counts}the first is {sample}: " if len(left_out) > 1 or max_left_out else ""
        raise SourceError(f"{prefix}{why}")


class _SetWriter:
    """Writes planned shards of a set."""

    def __init__(self, destination: ShardDestination) -> None:
        self.store, self.fingerprint = Store(destination.uri), destination.fingerprint
        self._retries_counted = 0
        self.planned_shards = destination.planned_shards
        self._upcoming = iter(self.planned_shards)
        self._next_planned = next(self._upcoming, None)

    def commit(
        self, rows: pa.Table, left_out: Mapping[int, str], made_on: Sequence[str] = ()
    ) -> int:
        """Write a shard; return its bytes, 0 if the shard existed.

        left_out: the planned samples that the rows lack. made_on: kinds of machine. Raises
        ShardError for rows of no planned shard, SpecMismatch if the store holds another set.
        """
        sample_ids = schema.to_numpy(rows[schema.SAMPLE_ID]).tolist()
        self.require_planned(sorted([*sample_ids, *left_out]))
        self.require_same_set()
        return commit_shard(self.store, rows, self.fingerprint, left_out, made_on)

    def new_retries(self) -> int:
        """Count the requests that were sent to the store again since the last call."""
        counted, self._retries_counted = self._retries_counted, self.store.retries
        return self._retries_counted - counted

    def require_same_set(self) -> None:
        """Raise SpecMismatch if another set was begun here since this one was begun."""
        existing_spec = read_spec(self.store)
        if existing_spec is None or existing_spec.fingerprint != self.fingerprint:
            raise SpecMismatch(
                f"{self.store} became another set while this one was made; nothing of this one "
                "was written to it: extract to a place of its own"
            )

    def require_planned(self, sample_ids: list[int]) -> None:
        """Raise ShardError unless these are the ids of a planned shard, in order."""
        planned = self._planned_from(sample_ids[0]) if sample_ids else None
        if planned is None or sample_ids != list(planned):
            ids_text = f"{sample_ids[0]}-{sample_ids[-1]}" if sample_ids else "none"
            raise ShardError(
                f"the stream gave {len(sample_ids)} samples {ids_text} for one shard of "
                f"{self.store}, planned was {planned}; nothing was written, and the same command "
                "tries again"
            )

    def _planned_from(self, first: int) -> range | None:
        """Return the planned shard that begins at `first` or later.

        Shards come in order, but after a fault an earlier one may come again.
        """
        if self._next_planned is None or self._next_planned.start > first:
            self._upcoming = iter(self.planned_shards)
            self._next_planned = next(self._upcoming, None)
        while self._next_planned is not None and self._next_planned.start < first:
            self._next_planned = next(self._upcoming, None)
        return self._next_planned


def top1_classes(logits: np.ndarray) -> np.ndarray:
    """Return the Top-1 classes of logits [n, classes], int64 [n]; of equal logits the first."""
    return logits.argmax(axis=1)
