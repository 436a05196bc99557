"""Shards that hold every sample id from one on. Apart, so that workers load no torch for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class ShardSlot(NamedTuple):
    """A shard. there: whether it is, or is to be made."""

    ids: range
    exists: bool


@dataclass(frozen=True)
class ShardSequence:
    """Every sample id from `first` on, to `stop` or without end, shard by shard.

    Those that are there keep their ranges; the others are cut at the multiples of shard_rows.
    """

    first: int
    stop: int | None
    present: tuple[range, ...]
    shard_rows: int

    @property
    def existing_shards(self) -> list[range]:
        """The shards that are there."""
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
    """The shards of a sequel that are not there; can be walked any number of times."""

    sequence: ShardSequence

    def __iter__(self) -> Iterator[range]:
        return (slot.ids for slot in self.sequence if not slot.exists)
