"""The distances of some points to their nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Nearest:
    """The k smallest distances of each of n points, ascending; infinite where there are fewer."""

    distances: np.ndarray  # float64 [n, k]

    @classmethod
    def empty(cls, points: int, k: int) -> Self:
        """Before any neighbour was looked at."""
        return cls(np.full((points, k), np.inf))

    def merge(self, other: Self) -> Self:
        """The nearest among both sets of neighbours. ValueError if they are of other shapes."""
        if self.distances.shape != other.distances.shape:
            raise ValueError(
                f"nearest of shapes {self.distances.shape} and {other.distances.shape}"
            )
        k = self.distances.shape[1]
        both = np.concatenate([self.distances, other.distances], axis=1)
        return type(self)(np.sort(both, axis=1)[:, :k])
