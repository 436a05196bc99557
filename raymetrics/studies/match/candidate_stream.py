"""The candidates of a match in the order of their ids: from existing shards and from new ones."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.planned_shards import (
    MissingShards,
    ShardSequence,
    ShardSlot,
)
from raymetrics.distributed.extraction.stream import stream
from raymetrics.distributed.extraction.stream_control import StreamControl, start_control
from raymetrics.distributed.extraction.stream_plan import SetToMake, ShardOutcome, StreamPlan
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
        self._control: StreamControl | None = None
        self._new_shards: Iterator[ShardOutcome] = iter(())
        self._early: dict[range, ShardOutcome] = {}  # made before a shard of lower ids

    def __enter__(self) -> CandidateStream:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._new_shards, "close", None)
        if close:
            close()
        if self._control is not None:
            self._control.stop()

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
        """Begin no further shard; return an iterator over the shards that were begun, by id."""
        if self._control is not None:
            self._control.close()
        begun = [*self._early.values(), *self._new_shards]
        return iter(sorted(begun, key=lambda outcome: outcome.ids.start))

    def _admit(self, window: int) -> None:
        while len(self._ahead) < window:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._ahead.append(piece)
            self._admitted += not piece.exists
        if self._control is not None:
            self._control.open(self._admitted)

    def _next_new_shard(self, ids: range) -> ShardOutcome:
        """Return the outcome of a shard; keep those that come before it for later."""
        if self._control is None:
            self._control = start_control()
            self._control.open(self._admitted)
            self._new_shards = stream(self._plan, self._resources, control=self._control)
        while ids not in self._early:
            outcome = next(self._new_shards, None)
            if outcome is None:
                raise ShardError(
                    f"the stream ended without samples {sample_ranges.format_range(ids)}"
                )
            self._early[outcome.ids] = outcome
        return self._early.pop(ids).require_success()
