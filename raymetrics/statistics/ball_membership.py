"""Counts of the balls that hold a point, and of the points in a ball.

Precision, recall, density, coverage and realism are formulas of them (Kynkaanniemi et al. 2019;
Naeem et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class BallMembership:
    """The membership of n points in m balls, each of which has K radii.

    Two parts of the same n and m can be merged if no pair of a point and a ball was searched for
    in both.
    """

    hits: np.ndarray  # int64 [n, K]: how many balls hold the point
    occupancy: np.ndarray  # int64 [m, K]: how many points the ball holds
    realism: np.ndarray  # float64 [n]: the largest radius / distance (Eq. 3); 0 without balls

    @classmethod
    def empty(cls, points: int, balls: int, radii: int) -> Self:
        """Return the membership before any pair of a point and a ball was searched."""
        return cls(
            np.zeros((points, radii), np.int64),
            np.zeros((balls, radii), np.int64),
            np.zeros(points),
        )

    def merge(self, addend: Self) -> Self:
        """Add the pairs of both parts. ValueError if points, balls or radii differ in number."""
        if self.hits.shape != addend.hits.shape or self.occupancy.shape != addend.occupancy.shape:
            raise ValueError(
                f"{len(self.hits)} points among {len(self.occupancy)} balls and "
                f"{len(addend.hits)} among {len(addend.occupancy)}, or of other radii"
            )
        return type(self)(
            self.hits + addend.hits,
            self.occupancy + addend.occupancy,
            np.maximum(self.realism, addend.realism),
        )

    def embed(self, points: slice, balls: slice, sizes: tuple[int, int]) -> Self:
        """Place this part at slices of a larger membership, whose sizes are (points, balls)."""
        whole = type(self).empty(*sizes, self.hits.shape[1])
        whole.hits[points] = self.hits
        whole.occupancy[balls] = self.occupancy
        whole.realism[points] = self.realism
        return whole

    def without_pairs(self) -> Self:
        """Return the membership of as many points, balls and radii before any was searched."""
        return type(self).empty(len(self.hits), *self.occupancy.shape)

    def with_radii(self, columns: slice) -> Self:
        """Return the membership for some of the radii."""
        return replace(self, hits=self.hits[:, columns], occupancy=self.occupancy[:, columns])
