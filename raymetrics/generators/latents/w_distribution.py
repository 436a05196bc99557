"""Represent the distribution of w: its mean, its axes, and the distances of samples to the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from raymetrics.statistics.moments import Moments

# The smallest deviation along an axis, relative to the largest. In a direction in which W is flat,
# the rounding of w to float32 (6e-8) must not count as an outlier.
_MIN_RELATIVE_DEVIATION = 1e-5


@dataclass(frozen=True)
class Distribution:
    """A Gaussian with the moments of w, and the distances of further samples to its mean.

    Methods rotate samples to the axes one by one, as the bits of a matrix product depend on its
    number of rows.
    """

    mean: np.ndarray  # float64 [w]
    deviations: np.ndarray  # float64 [w], standard deviations along the axes, ascending
    axes: np.ndarray  # float64 [w, w], a unit vector in each column
    distances: np.ndarray  # float64 [held out], Euclidean, ascending
    densities: np.ndarray  # float64 [held out], Mahalanobis distances, ascending

    @classmethod
    def from_samples(cls, w: np.ndarray, held_out: np.ndarray) -> Self:
        """Estimate the moments from samples w, and distances from others; both float [n, w].

        In many dimensions the samples that gave the moments lie nearer to the mean, in standard
        deviations, than any other sample: thresholds of theirs would keep too few.
        """
        moments = Moments.from_samples(w)
        variances, axes = np.linalg.eigh(moments.scatter / (moments.count - 1))
        deviations = np.sqrt(np.maximum(variances, 0))
        smallest = max(deviations[-1] * _MIN_RELATIVE_DEVIATION, np.finfo(np.float32).tiny)
        deviations = np.maximum(deviations, smallest)
        centered = held_out - moments.mean
        return cls(
            moments.mean,
            deviations,
            np.ascontiguousarray(axes),
            np.sort(_row_norms(centered)),
            np.sort(_row_norms(centered @ axes / deviations)),
        )

    def axis_coordinates(self, w: np.ndarray) -> np.ndarray:
        """Convert w float [n, w] to coordinates along the axes, from the mean, float64 [n, w]."""
        return np.stack([(row - self.mean) @ self.axes for row in w])

    def from_axis_coordinates(self, coordinates: np.ndarray) -> np.ndarray:
        """Convert coordinates along the axes to w, float64 [n, w]; inverts `axis_coordinates`."""
        return np.stack([self.mean + self.axes @ row for row in coordinates])

    def distance(self, w: np.ndarray) -> np.ndarray:
        """Compute the Euclidean distance to the mean, float64 [n]."""
        return _row_norms(w - self.mean)

    def mahalanobis(self, w: np.ndarray) -> np.ndarray:
        """Compute the Mahalanobis distance to the mean, float64 [n].

        This is the distance in standard deviations along the axes; the density falls with it.
        """
        return _row_norms(self.axis_coordinates(w) / self.deviations)

    def distance_quantile(self, share: float) -> float:
        """Return the distance within which this share of samples lies."""
        return _quantile(self.distances, share)

    def mahalanobis_quantile(self, share: float) -> float:
        """Return the Mahalanobis distance within which this share of samples lies."""
        return _quantile(self.densities, share)


def _quantile(values: np.ndarray, share: float) -> float:
    """Return the quantile of a share; 0 for the share 0, infinity for the share 1.

    So no value is below the quantile of 0, and every value is below that of 1.
    """
    if share in (0, 1):
        return 0 if share == 0 else np.inf
    return float(np.quantile(values, share))


def _row_norms(rows: np.ndarray) -> np.ndarray:
    """Compute the Euclidean norm of each row, float64 [n]."""
    squares: np.ndarray = np.square(rows, dtype=np.float64)
    return np.sqrt(squares.sum(axis=1))
