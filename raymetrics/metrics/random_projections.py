"""Projections of features onto random directions, sorted to compare two distributions.

In one dimension the optimal transport between two sets of as many samples pairs them in their
sorted order (Rabin et al. 2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics.threads import map_on_cores
from raymetrics.metrics.torch_random import SMALLEST_NORMALS, TorchRandom

_CHUNK_ROWS = 4096  # of features that are converted to float64 at a time
_CHUNK_DIRECTIONS = 16  # whose projections are sorted at a time


@dataclass(frozen=True)
class ProjectionDraws:
    """The random choices for two sides of these counts: directions, and the rows of the larger.

    They are those of torch-fidelity with the same seed, which cuts the larger side to the count of
    the smaller one before it draws directions. NotEnoughData for an empty side, or too few
    directions; RaymetricsError for a seed that is none.
    """

    real: int
    generated: int
    projections: int
    seed: int

    def __post_init__(self) -> None:
        if not min(self.real, self.generated):
            raise NotEnoughData(
                f"projections of {self.real} real and {self.generated} generated samples; "
                "expected at least one on each side"
            )
        if self.projections < SMALLEST_NORMALS:
            raise NotEnoughData(
                f"{self.projections} projections, expected at least {SMALLEST_NORMALS}"
            )
        if not 0 <= self.seed < 2**32:
            raise RaymetricsError(f"seed is {self.seed}, expected a number from 0 to {2**32 - 1}")

    @property
    def count(self) -> int:
        """The samples of each side that are compared."""
        return min(self.real, self.generated)

    def chosen_rows(self, side: str) -> np.ndarray | None:
        """Return the rows of a side that are compared, ascending int64 [count]; None for all."""
        available = getattr(self, side)
        if available == self.count:
            return None
        return np.sort(TorchRandom(self.seed).permutation_start(available, self.count))

    def directions(self, dimension: int) -> np.ndarray:
        """Return directions of length 1, float64 [projections, dimension]."""
        larger = max(self.real, self.generated)
        skipped = larger if larger > self.count else 0
        return _draw_directions(self.seed, skipped, self.projections, dimension)


@lru_cache(maxsize=2)
def _draw_directions(seed: int, skipped: int, count: int, dimension: int) -> np.ndarray:
    """Draw directions of length 1, after the permutation of so many rows."""
    random = TorchRandom(seed)
    random.permutation_start(skipped, 0)
    directions = random.normals(count, dimension).astype(np.float64)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def project(features: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Project rows onto directions, float32 [n, projections], computed in float64.

    features: real [n, d]; directions: float64 [projections, d].
    """
    projected = np.empty((len(features), len(directions)), np.float32)
    for i in range(0, len(features), _CHUNK_ROWS):
        chunk = features[i : i + _CHUNK_ROWS].astype(np.float64, copy=False)
        projected[i : i + _CHUNK_ROWS] = chunk @ directions.T
    return projected


def mean_squared_transport(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the mean squared distance of sorted projections, over samples and directions.

    x, y: float32 [n, projections] of both sides; the order of the rows makes no difference.
    """

    def transport(first: int) -> float:
        chunk = slice(first, first + _CHUNK_DIRECTIONS)
        gaps = _sort_projections(x[:, chunk]) - _sort_projections(y[:, chunk])
        return float(np.vdot(gaps, gaps))

    totals = map_on_cores(transport, range(0, x.shape[1], _CHUNK_DIRECTIONS))
    return sum(totals) / x.size


def _sort_projections(projected: np.ndarray) -> np.ndarray:
    """Sort every column, as rows of float64 [projections, n]."""
    return np.sort(np.ascontiguousarray(projected.T), axis=1).astype(np.float64)
