"""The distances of points to their nearest neighbors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class NearestDistances:
    """The k smallest distances of each of n points, ascending; infinite where there are fewer."""

    distances: np.ndarray  # float64 [n, k]

    @classmethod
    def empty(cls, points: int, k: int) -> Self:
        """Return the distances before any neighbor was searched."""
        return cls(np.full((points, k), np.inf))

    def merge(self, addend: Self) -> Self:
        """Keep the nearest of both sets of neighbors. ValueError if their shapes differ."""
        if self.distances.shape != addend.distances.shape:
            raise ValueError(
                f"nearest of shapes {self.distances.shape} and {addend.distances.shape}"
            )
        k = self.distances.shape[1]
        candidates = np.concatenate([self.distances, addend.distances], axis=1)
        return type(self)(np.sort(candidates, axis=1)[:, :k])
