"""Neighbours by float64 brute force in numpy: the truth that other engines are held against."""

from __future__ import annotations

import numpy as np

from raymetrics.statistics.ball_membership import Balls

PAIRS = 32  # at a time, so that they stay in the processor's cache


def distances(query: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """|c - q| for one query [d] and centres [m, d], float64 [m].

    From differences, so that it is exact to rounding, 0 for equal points, and the same to the
    bit in both directions.
    """
    return np.sqrt(np.square(centres.astype(np.float64) - query).sum(axis=-1))


def pair_distances(
    queries: np.ndarray, centres: np.ndarray, rows: np.ndarray, ids: np.ndarray
) -> np.ndarray:
    """|queries[rows[i]] - centres[ids[i]]|, float64 [i]; the bits of `distances`."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS):
        some = slice(start, start + PAIRS)
        difference = centres[ids[some]].astype(np.float64)
        difference -= queries[rows[some]]
        found[some] = np.square(difference, out=difference).sum(axis=-1)
    return np.sqrt(found)


def ratios(radii: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Radius / distance; infinite at the centre of a ball, 0 for what is no ball (radius < 0)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(distances > 0, radii / distances, np.inf)
    return np.where(radii >= 0, found, 0.0)


class ExactSearch:
    """Brute force; takes n * m * d operations and m * d numbers of memory."""

    name = "exact-float64"

    def place(self, *sets: np.ndarray) -> tuple[np.ndarray, ...]:
        """The sets as they are."""
        return sets

    def place_like(self, placed: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The set as it is."""
        return features

    def nearest(
        self, queries: np.ndarray, base: np.ndarray, k: int, own: np.ndarray | None = None
    ) -> np.ndarray:
        """The k smallest distances of each query to base rows other than its own."""
        found = np.full((len(queries), k), np.inf)
        for i, query in enumerate(queries):
            others = distances(query, base)
            if own is not None and own[i] >= 0:
                others[own[i]] = np.inf
            some = np.sort(others)[:k]
            found[i, : len(some)] = some
        return found

    def balls(
        self,
        queries: np.ndarray,
        centres: np.ndarray,
        radii: np.ndarray,
        *,
        count: bool = True,
        lesser: np.ndarray | None = None,
    ) -> Balls:
        """Which balls hold which queries; always counts."""
        found = Balls.empty(len(queries), *radii.shape)
        for i, query in enumerate(queries):
            apart = distances(query, centres)
            held = apart[:, None] <= radii
            found.hits[i] = held.sum(axis=0)
            found.occupied[:] |= held
            if lesser is not None:
                found.realism[i] = ratios(lesser, apart).max(initial=0.0)
        return found

    def both_ways(
        self, one: np.ndarray, other: np.ndarray, radii_of_one: np.ndarray,
        radii_of_other: np.ndarray, *, count: bool = True, lesser: np.ndarray | None = None,
    ) -> tuple[Balls, Balls]:  # fmt: skip
        """The other among the balls of one, with realism for the lesser radii; and one among
        the balls of the other."""
        by_one = self.balls(other, one, radii_of_one, lesser=lesser)
        return by_one, self.balls(one, other, radii_of_other)
