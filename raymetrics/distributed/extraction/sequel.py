"""Shards that hold every sample id from one on. Apart, so that workers load no torch for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Piece(NamedTuple):
    """A shard. there: whether it is, or is to be made."""

    ids: range
    there: bool


@dataclass(frozen=True)
class Sequel:
    """Every sample id from `first` on, to `stop` or without end, shard by shard.

    Those that are there keep their ranges; the others are cut at the multiples of shard_rows.
    """

    first: int
    stop: int | None
    present: tuple[range, ...]
    shard_rows: int

    @property
    def there(self) -> list[range]:
        """The shards that are there."""
        stop = np.inf if self.stop is None else self.stop
        return [ids for ids in self.present if ids.stop > self.first and ids.start < stop]

    def __iter__(self) -> Iterator[Piece]:
        at = self.first
        for ids in self.there:
            yield from (Piece(hole, False) for hole in self._cut(at, ids.start))
            yield Piece(ids, True)
            at = ids.stop
        yield from (Piece(ids, False) for ids in self._cut(at, self.stop))

    def _cut(self, at: int, stop: int | None) -> Iterator[range]:
        while stop is None or at < stop:
            end = (at // self.shard_rows + 1) * self.shard_rows
            end = end if stop is None else min(end, stop)
            yield range(at, end)
            at = end


@dataclass(frozen=True)
class ToMake:
    """The shards of a sequel that are not there; can be walked any number of times."""

    sequel: Sequel

    def __iter__(self) -> Iterator[range]:
        return (piece.ids for piece in self.sequel if not piece.there)
