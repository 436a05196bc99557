"""Neighbours by float64 brute force in numpy: the truth that other engines are held against."""

from __future__ import annotations

import numpy as np


def distances(query: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """|c - q| for one query [d] and centres [m, d], float64 [m].

    From differences, so that it is exact to rounding, 0 for equal points, and the same to the
    bit in both directions.
    """
    return np.sqrt(np.square(centres.astype(np.float64) - query).sum(axis=-1))


class ExactSearch:
    """Brute force; takes n * m * d operations and m * d numbers of memory."""

    name = "exact-float64"

    def radii(self, features: np.ndarray, k: int) -> np.ndarray:
        """The distance of each row to its k-th nearest other row, float64 [n]."""
        found = np.empty(len(features))
        for i, row in enumerate(features):
            others = distances(row, features)
            others[i] = np.inf
            found[i] = np.partition(others, k - 1)[k - 1]
        return found

    def covered(self, queries: np.ndarray, centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Whether each query lies in a closed ball around some centre, bool [n]."""
        return np.array([(distances(q, centres) <= radii).any() for q in queries], bool)
