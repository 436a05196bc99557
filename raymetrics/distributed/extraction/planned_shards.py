"""The shards to make. A shard is the unit of work: one worker makes and commits it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class PlannedShard(NamedTuple):
    """A shard to make: the number of its set in the plan, and its samples."""

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
