"""The candidates of a match in the order of their ids: from existing shards and from new ones."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.stream import stream
from raymetrics.distributed.extraction.stream_plan import SetToMake, ShardOutcome, StreamPlan
from raymetrics.distributed.extraction.work_units import (
    Gate,
    MissingShards,
    ShardSequence,
    ShardSlot,
    start_gate,
)
from raymetrics.distributed.fold import SHARDS_PER_TASK, map_in_order
from raymetrics.distributed.nodes import cluster_cpus
from raymetrics.distributed.resources import Resources
from raymetrics.errors import ShardError
from raymetrics.studies.match.shard_classes import ShardClasses, read_shard_classes


def _stream_shard_classes(
    uri: str, present: Sequence[range], logits: str
) -> Iterator[ShardClasses]:
    """Yield the classes of existing shards, in order; tasks read some groups of shards ahead."""
    # The tasks ask for no CPU, as actors that wait for the next shard may hold all CPUs.
    groups = [present[i : i + SHARDS_PER_TASK] for i in range(0, len(present), SHARDS_PER_TASK)]
    read_group = partial(read_shard_classes, uri, logits=logits)
    classes_by_group = map_in_order(read_group, groups, window=1 + cluster_cpus(), cpus=0)
    return itertools.chain.from_iterable(classes_by_group)


class CandidateStream:
    """Yields the candidates of a sequence of shards, and begins no shard beyond a window.

    It is a context manager, at whose end no actor is left. The actors are started with the first
    shard that is to be made.
    """

    def __init__(
        self, sequence: ShardSequence, target: SetToMake, logits: str, resources: Resources
    ) -> None:
        self._pieces = iter(sequence)
        self._ahead: deque[ShardSlot] = deque()
        self._admitted = 0  # shards to make that may be begun
        self._plan = StreamPlan([replace(target, todo=MissingShards(sequence))], logits)
        self._resources = resources
        self._present_shards = _stream_shard_classes(target.uri, sequence.existing_shards, logits)
        self._gate: Gate | None = None
        self._new_shards: Iterator[ShardOutcome] = iter(())

    def __enter__(self) -> CandidateStream:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._new_shards, "close", None)
        if close:
            close()
        if self._gate is not None:
            self._gate.stop()

    def next_shard(self, window: int) -> ShardClasses | ShardOutcome | None:
        """Return the next shard's candidates; None at the end of the sequence.

        window: how many shards, from this one on, may be under way meanwhile.
        """
        self._admit(window)
        if not self._ahead:
            return None
        piece = self._ahead.popleft()
        return next(self._present_shards) if piece.exists else self._next_new_shard(piece.ids)

    def drain(self) -> Iterator[ShardOutcome]:
        """Begin no further shard; return an iterator over the shards that were begun."""
        if self._gate is not None:
            self._gate.close()
        return self._new_shards

    def _admit(self, window: int) -> None:
        while len(self._ahead) < window:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._ahead.append(piece)
            self._admitted += not piece.exists
        if self._gate is not None:
            self._gate.open(self._admitted)

    def _next_new_shard(self, ids: range) -> ShardOutcome:
        if self._gate is None:
            self._gate = start_gate()
            self._gate.open(self._admitted)
            self._new_shards = stream(replace(self._plan, gate=self._gate), self._resources)
        outcome = next(self._new_shards, None)
        if outcome is None or outcome.ids != ids:
            received = None if outcome is None else sample_ranges.format_range(outcome.ids)
            raise ShardError(
                f"the stream gave samples {received}, expected {sample_ranges.format_range(ids)}"
            )
        return outcome.require_success()
