"""The count, mean and scatter of features, for the Frechet distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from raymetrics.errors import NotEnoughData


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of a set of features, in float64."""

    count: int
    mean: np.ndarray  # [d]
    scatter: np.ndarray  # [d, d]: sum of (x - mean)(x - mean)^T, not divided by anything

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Return the moments of no features of this dimension."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def from_samples(cls, features: np.ndarray) -> Self:
        """Compute the moments of features, real [n, d], in float64."""
        if len(features) == 0:
            return cls.empty(features.shape[1])
        x = features.astype(np.float64)
        mean = x.mean(axis=0)
        x -= mean
        return cls(len(x), mean, x.T @ x)

    def merge(self, addend: Self) -> Self:
        """Compute the moments of both sets. ValueError if their dimensions differ.

        By Chan, Golub & LeVeque (1979), which subtracts no two large numbers.
        """
        if self.mean.shape != addend.mean.shape:
            raise ValueError(f"moments of {self.mean.size} and {addend.mean.size} dimensions")
        if self.count == 0 or addend.count == 0:
            return addend if self.count == 0 else self
        count = self.count + addend.count
        shift = addend.mean - self.mean
        between = np.outer(shift, shift) * (self.count * addend.count / count)
        return type(self)(
            count,
            self.mean + shift * (addend.count / count),
            self.scatter + addend.scatter + between,
        )

    def covariance(self, ddof: int = 1) -> np.ndarray:
        """Compute scatter / (count - ddof), float64 [d, d]. NotEnoughData for count <= ddof."""
        if self.count <= ddof:
            raise NotEnoughData(
                f"a covariance of {self.count} samples; it takes at least {ddof + 1}"
            )
        return self.scatter / (self.count - ddof)
