"""Count what lies in balls, and find the largest radius / distance, from the pairs of tiles."""

from __future__ import annotations

from threading import Lock

import numpy as np

from raymetrics.neighbors.exact_distances import radius_ratios
from raymetrics.neighbors.screen import Floors, Pairs, Screen, Tile
from raymetrics.statistics.ball_membership import BallMembership

_SLACK = 2.0**-48  # for the rounding of squares and roots in float64
_SMALLEST_RATIO = 2.0**-30  # of a radius and a distance, that tiles can tell from 0


def half_squared_reach(radii: np.ndarray, scale: float) -> np.ndarray:
    """Return -radius^2 / 2 of scaled radii, a little lower; infinity for an empty ball."""
    return np.where(radii < 0, np.inf, -np.square(radii * scale) / 2 * (1 + _SLACK))


class PairDistances:
    """Bounds on the distances of pairs, which become exact where they must."""

    def __init__(self, screen: Screen, pairs: Pairs) -> None:
        self.screen, self.pairs = screen, pairs
        self.low = np.sqrt(-2 * pairs.high.clip(max=0)) / screen.scale * (1 - _SLACK)
        self.high = np.sqrt(-2 * pairs.low.clip(max=0)) / screen.scale * (1 + _SLACK)

    def inside(self, radii: np.ndarray) -> np.ndarray:
        """Compute which pairs are no further apart than radii, float64 [pairs, K]."""
        unsure = ((self.low[:, None] <= radii) & (self.high[:, None] > radii)).any(axis=1)
        i, j = self.pairs.i[unsure], self.pairs.j[unsure]
        self.low[unsure] = self.high[unsure] = self.screen.distances(i, j)
        is_inside: np.ndarray = self.high[:, None] <= radii
        return is_inside


def count_pairs(balls: BallMembership, i: np.ndarray, j: np.ndarray, is_inside: np.ndarray) -> None:
    """Count the pairs of a point i and a ball j that contains it; is_inside: bool [pairs, K]."""
    for radius in range(is_inside.shape[1]):
        inside = is_inside[:, radius]
        if inside.any():
            add_counts(balls.hits[:, radius], i[inside])
            add_counts(balls.occupancy[:, radius], j[inside])


def add_counts(totals: np.ndarray, indices: np.ndarray) -> None:
    """Add to every total how often its index stands among indices, which lie near each other."""
    first = indices.min()
    counts = np.bincount(indices - first)
    totals[first : first + len(counts)] += counts


class MaxRatios:
    """The largest radius / distance of each column (Eq. 3 of the paper), tile by tile."""

    def __init__(self, screen: Screen, radii: np.ndarray) -> None:
        self.screen, self.radii, self.lock = screen, radii, Lock()
        self.reach = half_squared_reach(radii, screen.scale)
        self.ratios = np.zeros(len(screen.right))  # that some ball reaches

    def add(self, tile: Tile) -> None:
        """Raise the ratios of a tile's columns to those of its rows."""
        if not self.ratios[tile.columns].all():
            likely = self.screen.processor.best_rows(tile.values, -self.reach[tile.rows])
            columns = np.arange(tile.columns.start, tile.columns.stop)
            self._raise_ratios(likely + tile.rows.start, columns)
        squared = np.square(self.ratios[tile.columns].clip(_SMALLEST_RATIO, 1e9)) * (1 - 2.0**-18)
        floors = Floors(self.reach[tile.rows], column_weights=squared)
        pairs = self.screen.open_pairs(tile, floors)
        self._raise_ratios(pairs.i, pairs.j)

    def _raise_ratios(self, i: np.ndarray, j: np.ndarray) -> None:
        reached = radius_ratios(self.radii[i], self.screen.distances(i, j))
        with self.lock:
            np.maximum.at(self.ratios, j, reached)

    def largest(self) -> np.ndarray:
        """Return the largest ratios, float64 [columns]; 0 without a ball."""
        balls = np.flatnonzero(self.radii > 0)
        for column in np.flatnonzero(self.ratios < _SMALLEST_RATIO):
            self._raise_ratios(balls, np.full(len(balls), column))
        return self.ratios
