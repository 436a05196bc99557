"""Float64 brute force in numpy: the truth that other engines are tested against."""

from __future__ import annotations

import numpy as np

from raymetrics.statistics.ball_membership import BallMembership

_PAIRS_AT_ONCE = 32  # few enough to stay in the processor's cache


def euclidean_distances(query: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Compute |c - q| for one query q [d] and centers c [m, d], float64 [m].

    Differences make the distance exact to rounding, 0 for equal points, and equal to the bit in
    both directions.
    """
    return np.sqrt(np.square(centers.astype(np.float64) - query).sum(axis=-1))


def pair_distances(
    queries: np.ndarray, centers: np.ndarray, rows: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """Compute |queries[rows[i]] - centers[ids[i]]|, float64 [i].

    The bits equal those of `euclidean_distances`.
    """
    squared = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        difference = centers[ids[block]].astype(np.float64)
        difference -= queries[rows[block]]
        squared[block] = np.square(difference, out=difference).sum(axis=-1)
    return np.sqrt(squared)


def radius_ratios(radii: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Compute radius / distance: infinite at the center of a ball, 0 if the radius is below 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = np.where(distances > 0, radii / distances, np.inf)
    return np.where(radii >= 0, quotients, 0.0)


class ExactSearch:
    """Brute force: n * m * d operations, and m * d numbers of memory."""

    name = "exact-float64"

    def prepare(self, *sets: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the sets unchanged."""
        return sets

    def prepare_like(self, prepared: np.ndarray, features: np.ndarray) -> np.ndarray:
        """Return the set unchanged."""
        return features

    def nearest(
        self, queries: np.ndarray, base: np.ndarray, k: int, self_rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the k smallest distances of each query to base rows other than itself.

        self_rows: int64 [n], the base row that equals the query, -1 if there is none. Returns
        float64 [n, k], ascending; infinite beyond the number of rows.
        """
        smallest = np.full((len(queries), k), np.inf)
        for i, query in enumerate(queries):
            others = euclidean_distances(query, base)
            if self_rows is not None and self_rows[i] >= 0:
                others[self_rows[i]] = np.inf
            nearest_few = np.sort(others)[:k]
            smallest[i, : len(nearest_few)] = nearest_few
        return smallest

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
            membership.occupied[:] |= is_inside
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
