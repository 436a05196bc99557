"""The nearest neighbors of points: which they are, and how far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class NearestNeighbors:
    """The k nearest neighbors of each of n points, by distance; of equal distances by row.

    Where there are fewer neighbors the distance is infinite and the row -1.
    """

    distances: np.ndarray  # float64 [n, k]
    rows: np.ndarray  # int64 [n, k], in the set that was searched

    @classmethod
    def empty(cls, points: int, k: int) -> Self:
        """Return the neighbors before any was searched."""
        return cls(np.full((points, k), np.inf), np.full((points, k), -1))

    def merge(self, addend: Self) -> Self:
        """Keep the nearest of both sets of neighbors. ValueError if their shapes differ."""
        if self.distances.shape != addend.distances.shape:
            raise ValueError(
                f"neighbors of shapes {self.distances.shape} and {addend.distances.shape}"
            )
        distances = np.concatenate([self.distances, addend.distances], axis=1)
        rows = np.concatenate([self.rows, addend.rows], axis=1)
        return self.nearest(distances, rows, self.distances.shape[1])

    @classmethod
    def nearest(cls, distances: np.ndarray, rows: np.ndarray, k: int) -> Self:
        """Keep the k nearest of candidates: distances float64 and rows int64 [n, c]."""
        order = np.lexsort((rows, distances), axis=1)[:, :k]
        return cls(*(np.take_along_axis(values, order, axis=1) for values in (distances, rows)))

    def take_nearer(self, found: Self, points: slice, first_row: int) -> None:
        """Merge the neighbors of some of the points in a part of the set, in place.

        first_row: the number of the part's first row in the set.
        """
        mine = type(self)(self.distances[points], self.rows[points])
        shifted = np.where(found.rows < 0, -1, found.rows + first_row)
        merged = mine.merge(type(self)(found.distances, shifted))
        self.distances[points], self.rows[points] = merged.distances, merged.rows
