"""The shards to make, their units of work, and the gate that lets them into a stream.

A unit is a range of sample ids that does not cross a shard: {"target", "first", "rows"}, where
target is the number of the set in the plan. One task makes the units as the stream asks for them,
so that a plan may be endless; each unit is a function of its number, so that the task can be run
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.commit_stage import PADDING_ID, TARGET
from raymetrics.distributed.session import uses_ray

Unit = dict[str, int]
FILLER: Unit = {TARGET: 0, "first": PADDING_ID, "rows": 0}


class PlannedShard(NamedTuple):
    """A shard to make: the number of its set, and its samples."""

    target: int
    ids: range


class PlannedShards:
    """The shards of several sets, one set after another; can be iterated any number of times."""

    def __init__(self, todo: Sequence[Iterable[range]]) -> None:
        self.todo = todo

    def __iter__(self) -> Iterator[PlannedShard]:
        return (PlannedShard(target, ids) for target, todo in enumerate(self.todo) for ids in todo)


class ShardSlot(NamedTuple):
    """The samples of a shard, and whether it exists or is to be made."""

    ids: range
    exists: bool


@dataclass(frozen=True)
class ShardSequence:
    """Shards that hold every sample id from `first` on, to `stop` or without end.

    Existing shards keep their ranges; the others are cut at the multiples of `shard_rows`.
    """

    first: int
    stop: int | None
    present: tuple[range, ...]
    shard_rows: int

    @property
    def existing_shards(self) -> list[range]:
        """The existing shards of the sequence."""
        stop = np.inf if self.stop is None else self.stop
        return [ids for ids in self.present if ids.stop > self.first and ids.start < stop]

    def __iter__(self) -> Iterator[ShardSlot]:
        position = self.first
        for ids in self.existing_shards:
            yield from (ShardSlot(hole, False) for hole in self._cut(position, ids.start))
            yield ShardSlot(ids, True)
            position = ids.stop
        yield from (ShardSlot(ids, False) for ids in self._cut(position, self.stop))

    def _cut(self, position: int, stop: int | None) -> Iterator[range]:
        while stop is None or position < stop:
            end = (position // self.shard_rows + 1) * self.shard_rows
            end = end if stop is None else min(end, stop)
            yield range(position, end)
            position = end


@dataclass(frozen=True)
class MissingShards:
    """The shards of a sequence that do not exist; can be iterated any number of times."""

    sequence: ShardSequence

    def __iter__(self) -> Iterator[range]:
        return (slot.ids for slot in self.sequence if not slot.exists)


def max_units_per_shard(shard_rows: int, batch: int) -> int:
    """Return the most units that a shard has, cut at the multiples of `batch`."""
    if shard_rows % batch and batch % shard_rows:
        return -(-shard_rows // batch) + 1
    return max(1, shard_rows // batch)


def split_into_units(
    todo: Iterable[PlannedShard], batch: int, units_per_shard: int
) -> Iterator[list[Unit]]:
    """Yield the units of each shard.

    Every shard but the last has `units_per_shard` units, as the committing stage takes so many at a
    time: shorter shards are filled up with padding.
    """
    shards = iter(todo)
    shard = next(shards, None)
    while shard is not None:
        units = [
            {TARGET: shard.target, "first": samples.start, "rows": len(samples)}
            for samples in sample_ranges.split_at_multiples(shard.ids, batch)
        ]
        shard = next(shards, None)
        yield units if shard is None else units + [FILLER] * (units_per_shard - len(units))


class Gate(Protocol):
    """Says how many shards of a stream may be begun; the consumer of the stream opens it."""

    def admits(self, number: int) -> bool:
        """Return whether shard `number` may be begun, as soon as that is decided."""

    def open(self, shards: int) -> None:
        """Let the first `shards` shards in."""

    def close(self) -> None:
        """Let no further shard in."""

    def stop(self) -> None:
        """Release what the gate holds."""


class LocalGate:
    """A gate in this process; here nobody can open it while `admits` waits."""

    def __init__(self) -> None:
        self._open_to = 0

    def admits(self, number: int) -> bool:
        """Return whether shard `number` is among those that were let in."""
        return number < self._open_to

    def open(self, shards: int) -> None:
        """Let the first `shards` shards in."""
        self._open_to = max(shards, self._open_to)

    def close(self) -> None:
        """Do nothing: a shard that was not let in is not begun."""

    def stop(self) -> None:
        """Do nothing."""


class ActorGate:
    """A gate that an actor keeps, for a stream on Ray."""

    def __init__(self) -> None:
        import ray

        self._actor: Any = ray.remote(GateActor).options(num_cpus=0, max_concurrency=16).remote()

    def admits(self, number: int) -> bool:
        """Wait until shard `number` may be begun; return False if it never will be."""
        import ray

        return bool(ray.get(self._actor.admits.remote(number)))

    def open(self, shards: int) -> None:
        """Let the first `shards` shards in."""
        self._actor.open.remote(shards)

    def close(self) -> None:
        """Let no further shard in."""
        import ray

        ray.get(self._actor.close.remote())

    def stop(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)


def start_gate() -> Gate:
    """Return a closed gate for a stream of this session."""
    return ActorGate() if uses_ray() else LocalGate()


class GateActor:
    """The state of an `ActorGate`."""

    def __init__(self) -> None:
        self.open_to = 0
        self.closed = False
        self._changed = asyncio.Condition()

    async def admits(self, number: int) -> bool:
        """Wait until shard `number` may be begun; return False if it never will be."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.closed or number < self.open_to)
        return number < self.open_to

    async def open(self, shards: int) -> None:
        """Let the first `shards` shards in."""
        async with self._changed:
            self.open_to = max(shards, self.open_to)
            self._changed.notify_all()

    async def close(self) -> None:
        """Let no further shard in."""
        async with self._changed:
            self.closed = True
            self._changed.notify_all()
