"""Which of some balls hold which of some points: what precision, recall, density, coverage and
realism are formulas of (Kynkaanniemi et al. 2019; Naeem et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class BallMembership:
    """What was found of n points among m balls, each with K radii.

    Merging adds what was found of other points, or among other balls, of the same n and m: each
    pair of a point and a ball must be looked at once.
    """

    hits: np.ndarray  # int64 [n, K]: how many balls hold the point
    occupied: np.ndarray  # bool [m, K]: whether the ball holds any point
    realism: np.ndarray  # float64 [n]: the largest radius / distance (Eq. 3); 0 of no ball

    @classmethod
    def empty(cls, points: int, balls: int, radii: int) -> Self:
        """Before any pair was looked at."""
        return cls(
            np.zeros((points, radii), np.int64),
            np.zeros((balls, radii), bool),
            np.zeros(points),
        )

    def merge(self, addend: Self) -> Self:
        """What was found in either look. ValueError if they are not of the same sizes."""
        if self.hits.shape != addend.hits.shape or self.occupied.shape != addend.occupied.shape:
            raise ValueError(
                f"{len(self.hits)} points among {len(self.occupied)} balls and "
                f"{len(addend.hits)} among {len(addend.occupied)}, or of other radii"
            )
        return type(self)(
            self.hits + addend.hits,
            self.occupied | addend.occupied,
            np.maximum(self.realism, addend.realism),
        )

    def embed(self, points: slice, balls: slice, sizes: tuple[int, int]) -> Self:
        """The same of a larger whole of (points, balls), of which these are only slices."""
        whole = type(self).empty(*sizes, self.hits.shape[1])
        whole.hits[points] = self.hits
        whole.occupied[balls] = self.occupied
        whole.realism[points] = self.realism
        return whole
