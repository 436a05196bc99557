"""Brute force as an engine: the truth that the engines are tested against."""

from __future__ import annotations

import numpy as np

from raymetrics.neighbors.exact_distances import euclidean_distances, radius_ratios
from raymetrics.statistics.ball_membership import BallMembership
from raymetrics.statistics.nearest_neighbors import NearestNeighbors


class ExactSearch:
    """Brute force: n * m * d operations, and m * d numbers of memory."""

    name = "exact-float64"

    def prepare(self, *sets: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the sets unchanged."""
        return sets

    def prepare_like(self, prepared: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the set unchanged."""
        return features

    def nearest(self, queries: np.ndarray, base: np.ndarray, k: int) -> np.ndarray:
        """Compute the k smallest distances of each query to base rows; in one set, to others.

        Returns float64 [n, k], ascending; infinite beyond the number of rows.
        """
        smallest = np.full((len(queries), k), np.inf)
        for i, query in enumerate(queries):
            others = euclidean_distances(query, base)
            if queries is base:
                others[i] = np.inf
            nearest_few = np.sort(others)[:k]
            smallest[i, : len(nearest_few)] = nearest_few
        return smallest

    def nearest_neighbors(self, queries: np.ndarray, base: np.ndarray, k: int) -> NearestNeighbors:
        """Find the k nearest base rows of each query; of equal distances the smaller rows."""
        found = NearestNeighbors.empty(len(queries), k)
        for i, query in enumerate(queries):
            others = euclidean_distances(query, base)
            rows = [row for row in range(len(base)) if queries is not base or row != i]
            rows = sorted(rows, key=lambda row: (others[row], row))[:k]
            found.distances[i, : len(rows)], found.rows[i, : len(rows)] = others[rows], rows
        return found

    def nearest_both_directions(
        self, left: np.ndarray, right: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the k smallest distances of each left row to right rows, and the converse."""
        return self.nearest(left, right, k), self.nearest(right, left, k)

    def balls(
        self,
        queries: np.ndarray,
        centers: np.ndarray,
        radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> BallMembership:
        """Compute which balls contain which queries; counts even without `count`."""
        membership = BallMembership.empty(len(queries), *radii.shape)
        for i, query in enumerate(queries):
            center_distances = euclidean_distances(query, centers)
            is_inside = center_distances[:, None] <= radii
            membership.hits[i] = is_inside.sum(axis=0)
            membership.occupancy[:] += is_inside
            if realism_radii is not None:
                membership.realism[i] = radius_ratios(realism_radii, center_distances).max(
                    initial=0.0
                )
        return membership

    def balls_both_directions(
        self,
        left: np.ndarray,
        right: np.ndarray,
        left_radii: np.ndarray,
        right_radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> tuple[BallMembership, BallMembership]:
        """Compute `right` among the balls of `left`, and `left` among the balls of `right`.

        Only the first result has realism, and only with realism_radii.
        """
        right_in_left = self.balls(right, left, left_radii, realism_radii=realism_radii)
        return right_in_left, self.balls(left, right, right_radii)

    def balls_among_others(self, prepared: np.ndarray, radii: np.ndarray) -> BallMembership:
        """Count the rows of a set in the balls of its other rows."""
        own = (radii >= 0).astype(np.int64)  # each ball of which holds its center
        found = self.balls(prepared, prepared, radii)
        return BallMembership(found.hits - own, found.occupancy - own, found.realism)

    def misses_both_directions(
        self, left: np.ndarray, right: np.ndarray, left_reach: float, right_reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Multiply distance / reach over the left rows that reach a right row, and the converse."""
        distances = np.array([euclidean_distances(row, right) for row in left])
        products = [
            np.where(distances < reach, distances / (reach or 1), 1).prod(axis=axis)
            for axis, reach in enumerate((left_reach, right_reach))
        ]
        return products[0], products[1]
