"""Counts of the balls that hold a point, and of the points in a ball.

Precision, recall, density, coverage and realism are formulas of them (Kynkaanniemi et al. 2019;
Naeem et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class BallMembership:
    """The membership of n points in m balls, each of which has K radii.

    Two parts of the same n and m can be merged if no pair of a point and a ball was searched for
    in both.
    """

    hits: np.ndarray  # int64 [n, K]: how many balls hold the point
    occupied: np.ndarray  # bool [m, K]: whether the ball holds any point
    realism: np.ndarray  # float64 [n]: the largest radius / distance (Eq. 3); 0 without balls

    @classmethod
    def empty(cls, points: int, balls: int, radii: int) -> Self:
        """Return the membership before any pair of a point and a ball was searched."""
        return cls(
            np.zeros((points, radii), np.int64),
            np.zeros((balls, radii), bool),
            np.zeros(points),
        )

    def merge(self, addend: Self) -> Self:
        """Add the pairs of both parts. ValueError if points, balls or radii differ in number."""
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
        """Place this part at slices of a larger membership, whose sizes are (points, balls)."""
        whole = type(self).empty(*sizes, self.hits.shape[1])
        whole.hits[points] = self.hits
        whole.occupied[balls] = self.occupied
        whole.realism[points] = self.realism
        return whole
