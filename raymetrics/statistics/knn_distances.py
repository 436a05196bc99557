"""The distances of some points to their nearest neighbours."""

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
        """Before any neighbour was looked at."""
        return cls(np.full((points, k), np.inf))

    def merge(self, addend: Self) -> Self:
        """The nearest among both sets of neighbours. ValueError if they are of other shapes."""
        if self.distances.shape != addend.distances.shape:
            raise ValueError(
                f"nearest of shapes {self.distances.shape} and {addend.distances.shape}"
            )
        k = self.distances.shape[1]
        candidates = np.concatenate([self.distances, addend.distances], axis=1)
        return type(self)(np.sort(candidates, axis=1)[:, :k])
