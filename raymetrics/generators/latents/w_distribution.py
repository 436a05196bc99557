"""What is known of the distribution of w: its mean, its axes, and how far its samples lie out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from raymetrics.statistics.moments import Moments

# The smallest deviation along an axis, in those of the largest. Where W is flat, the rounding of
# w to float32 (6e-8) must not count as an outlier.
_MIN_RELATIVE_DEVIATION = 1e-5


@dataclass(frozen=True)
class Distribution:
    """A Gaussian with the moments of w, and two distances from its mean of the samples behind it.

    Samples are taken to the axes one by one, as the bits of a matrix product depend on how many
    rows it has.
    """

    mean: np.ndarray  # float64 [w]
    deviations: np.ndarray  # float64 [w], standard deviations along the axes, ascending
    axes: np.ndarray  # float64 [w, w], a unit vector in each column
    distances: np.ndarray  # float64 [draws], Euclidean, ascending
    densities: np.ndarray  # float64 [draws], Mahalanobis distances, ascending

    @classmethod
    def from_samples(cls, w: np.ndarray) -> Self:
        """w: float [draws, w]."""
        moments = Moments.from_samples(w)
        variances, axes = np.linalg.eigh(moments.scatter / (moments.count - 1))
        deviations = np.sqrt(np.maximum(variances, 0))
        smallest = max(deviations[-1] * _MIN_RELATIVE_DEVIATION, np.finfo(np.float32).tiny)
        deviations = np.maximum(deviations, smallest)
        centered = w - moments.mean
        return cls(
            moments.mean,
            deviations,
            np.ascontiguousarray(axes),
            np.sort(_row_norms(centered)),
            np.sort(_row_norms(centered @ axes / deviations)),
        )

    def axis_coordinates(self, w: np.ndarray) -> np.ndarray:
        """w float [n, w] -> coordinates float64 [n, w], from the mean along the axes."""
        return np.stack([(row - self.mean) @ self.axes for row in w])

    def from_axis_coordinates(self, coordinates: np.ndarray) -> np.ndarray:
        """The inverse of `along_axes`, float64 [n, w]."""
        return np.stack([self.mean + self.axes @ row for row in coordinates])

    def distance(self, w: np.ndarray) -> np.ndarray:
        """From the mean, float64 [n]."""
        return _row_norms(w - self.mean)

    def mahalanobis(self, w: np.ndarray) -> np.ndarray:
        """From the mean in deviations along the axes: the smaller, the denser. float64 [n]."""
        return _row_norms(self.axis_coordinates(w) / self.deviations)

    def distance_quantile(self, share: float) -> float:
        """The distance within which this share of the samples lies."""
        return _quantile(self.distances, share)

    def mahalanobis_quantile(self, share: float) -> float:
        """The Mahalanobis distance within which this share of the samples lies."""
        return _quantile(self.densities, share)


def _quantile(values: np.ndarray, share: float) -> float:
    """0 and infinity at the ends, where nothing and everything lies within."""
    if share in (0, 1):
        return 0 if share == 0 else np.inf
    return float(np.quantile(values, share))


def _row_norms(rows: np.ndarray) -> np.ndarray:
    """Euclidean, float64 [n]."""
    squares: np.ndarray = np.square(rows, dtype=np.float64)
    return np.sqrt(squares.sum(axis=1))
