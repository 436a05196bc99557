"""The candidates for the k nearest neighbors of each row, as tiles come in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

from raymetrics.statistics.nearest_neighbors import NearestNeighbors

_SLACK = 2.0**-48  # for the rounding of squares in float64
_MAX_CANDIDATES = 32  # of a row beyond 4 k, before their distances are computed
_WAITING = 4  # candidates a row that wait before they are compared with those of before

# high, low: bounds of -distance^2 / 2; distance: nan until it is computed.
CANDIDATE = np.dtype(
    [("row", np.int64), ("id", np.int64), ("high", float), ("low", float), ("distance", float)]
)

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of rows and candidates, exactly


@dataclass
class _Block:
    """The candidates of some rows: those kept, by row and nearness, and those that wait."""

    lock: Lock = field(default_factory=Lock)
    candidates: np.ndarray = field(default_factory=lambda: np.empty(0, CANDIDATE))
    waiting: list[np.ndarray] = field(default_factory=list)

    def rank(self, nearness: str = "low", tie_breakers: tuple[str, ...] = ()) -> np.ndarray:
        """Sort what is kept by row and nearness; return the rank of each within its row."""
        keys = [self.candidates[name] for name in tie_breakers]
        self.candidates = self.candidates[
            np.lexsort((*keys, -self.candidates[nearness], self.candidates["row"]))
        ]
        starts = np.flatnonzero(np.diff(self.candidates["row"], prepend=-1))
        counts = np.diff(starts, append=len(self.candidates))
        return np.arange(len(self.candidates)) - np.repeat(starts, counts)


class CandidatePool:
    """The candidates of all rows of a set.

    floors: float64 [n], a value that k candidates of a row reach for certain; whatever lies below
    is not among the k nearest. Once k candidates have distance 0 it is infinite, or 0 where ids
    are wanted: then of equally near candidates those with the smaller ids are kept.
    """

    def __init__(
        self,
        rows: int,
        k: int,
        side: int,
        scale: float,
        distances: Distances,
        *,
        with_ids: bool = False,
    ) -> None:
        self.k, self.side, self.scale, self.distances = k, side, scale, distances
        self.with_ids = with_ids
        self.tie_breakers = ("id", "distance") if with_ids else ()  # the last counts first
        self.floors = np.full(rows, -np.inf)
        # The k-th smallest id at distance 0: a larger one is not among the k nearest.
        self.last_copies = np.full(rows, np.iinfo(np.int64).max) if with_ids else None
        self.blocks = [_Block() for _ in range(0, rows, side)]

    def raise_floors(self, rows: slice, floors: np.ndarray) -> None:
        """Raise the floors of the rows of a block to values that k candidates reach."""
        with self.blocks[rows.start // self.side].lock:
            self.floors[rows] = np.maximum(self.floors[rows], floors)

    def add(
        self, rows: slice, i: np.ndarray, ids: np.ndarray, high: np.ndarray, low: np.ndarray
    ) -> None:
        """Add candidates of rows of one block, with bounds of -distance^2 / 2."""
        is_wanted = high >= self.floors[i]
        if self.last_copies is not None:
            is_wanted &= ids <= self.last_copies[i]
        wanted = np.flatnonzero(is_wanted)
        added = np.empty(len(wanted), CANDIDATE)
        added["row"], added["id"] = i[wanted], ids[wanted]
        added["high"], added["low"], added["distance"] = high[wanted], low[wanted], np.nan
        block = self.blocks[rows.start // self.side]
        with block.lock:
            block.waiting.append(added)
            if sum(map(len, block.waiting)) > _WAITING * (rows.stop - rows.start):
                self._take_waiting(block)

    def _take_waiting(self, block: _Block) -> None:
        """Keep those that wait if they may be among the nearest."""
        block.candidates = np.concatenate([block.candidates, *block.waiting])
        block.waiting.clear()
        self._drop_hopeless(block)
        rows, counts = np.unique(block.candidates["row"], return_counts=True)
        crowded = rows[counts > 4 * self.k + _MAX_CANDIDATES]
        if len(crowded):
            self._settle(block, crowded)

    def _drop_hopeless(self, block: _Block) -> None:
        """Raise the floors of a block, and drop the candidates below them."""
        ranks = block.rank()
        kth = block.candidates[ranks == self.k - 1]
        self.floors[kth["row"]] = np.maximum(self.floors[kth["row"]], kth["low"])
        block.candidates = block.candidates[
            block.candidates["high"] >= self.floors[block.candidates["row"]]
        ]

    def _settle(self, block: _Block, rows: np.ndarray) -> None:
        """Compute distances in rows with many candidates, and keep k of each such row.

        The nearest come first, because copies at distance 0 settle a row.
        """
        for last_rank in (self.k, len(block.candidates)):
            ranks = block.rank()
            self._compute(block, np.isin(block.candidates["row"], rows) & (ranks < last_rank))
            self._drop_hopeless(block)
        ranks = block.rank(tie_breakers=self.tie_breakers)
        block.candidates = block.candidates[
            ~np.isin(block.candidates["row"], rows) | (ranks < self.k)
        ]

    def _compute(self, block: _Block, wanted: np.ndarray) -> None:
        """Compute the distances of some candidates."""
        candidates = block.candidates
        missing = np.flatnonzero(wanted & np.isnan(candidates["distance"]))
        distances = self.distances(candidates["row"][missing], candidates["id"][missing])
        values = -np.square(distances * self.scale) / 2
        candidates["distance"][missing] = distances
        candidates["high"][missing], candidates["low"][missing] = (
            values * (1 - _SLACK),
            values * (1 + _SLACK),
        )
        ranks = block.rank(tie_breakers=self.tie_breakers)
        kth = block.candidates[ranks == self.k - 1]
        kth = kth[kth["distance"] == 0]
        if self.last_copies is not None:
            self.floors[kth["row"]] = 0
            self.last_copies[kth["row"]] = kth["id"]
            return
        self.floors[kth["row"]] = np.inf
        block.candidates["high"][block.candidates["distance"] == 0] = (
            np.inf
        )  # stays above such a floor

    def nearest(self, block_index: int) -> NearestNeighbors:
        """Compute the k nearest of each row of a block; see `NearestNeighbors`."""
        block, start = self.blocks[block_index], block_index * self.side
        self._take_waiting(block)
        self._compute(block, np.ones(len(block.candidates), bool))
        block.candidates["high"] = -block.candidates["distance"]
        ranks = block.rank("high", self.tie_breakers)
        nearest = NearestNeighbors.empty(min(self.side, len(self.floors) - start), self.k)
        first = block.candidates[ranks < self.k]
        place = first["row"] - start, ranks[ranks < self.k]
        nearest.distances[place], nearest.rows[place] = first["distance"], first["id"]
        return nearest
