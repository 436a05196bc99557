"""The weighted mean and covariance of features, for the Frechet distance of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class WeightedMoments:
    """Sums over samples x of weight w, in float64.

    The samples must have been shifted by one common vector to a mean of about zero: the covariance
    is a difference, and is exact only where the mean is not large against the deviation.
    """

    weight: float  # sum of w
    sums: np.ndarray  # [d]: sum of w x
    products: np.ndarray  # [d, d]: sum of w x x^T

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Return the sums over no samples of this dimension."""
        return cls(0.0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def from_samples(cls, features: Any, weights: np.ndarray) -> Self:
        """Sum over weighted samples.

        features: real [n, d], of numpy or torch; weights: float64 [n], not negative.
        The products are computed in the type of the features, and on their device. With float32
        their rounding errors average out over some thousand rows at most: merge blocks of that
        size, since the sums of blocks are added in float64.
        """
        scaled = features * cast_like(np.sqrt(weights), features)[:, None]
        return cls(
            float(weights.sum()),
            to_numpy_float64(cast_like(weights, features) @ features),
            to_numpy_float64(scaled.T @ scaled),
        )

    def merge(self, addend: Self) -> Self:
        """Add the sums over both sets. ValueError if their dimensions differ."""
        if self.sums.shape != addend.sums.shape:
            raise ValueError(f"moments of {self.sums.size} and {addend.sums.size} dimensions")
        return type(self)(
            self.weight + addend.weight, self.sums + addend.sums, self.products + addend.products
        )

    @property
    def mean(self) -> np.ndarray:
        """The weighted mean, float64 [d]."""
        return self.sums / self.weight

    def covariance(self, ddof: float = 0) -> np.ndarray:
        """Compute the covariance, float64 [d, d], divided by the sum of weights minus ddof."""
        central = self.products - np.outer(self.sums, self.mean)
        return np.asarray(central / (self.weight - ddof))


def cast_like(values: np.ndarray, features: Any) -> Any:
    """Convert values to the library, type and device of features."""
    if isinstance(features, np.ndarray):
        return values.astype(features.dtype)
    return features.new_tensor(values)


def as_float64(features: Any) -> Any:
    """Convert features to float64, in their library and on their device."""
    return features.astype(np.float64) if isinstance(features, np.ndarray) else features.double()


def to_numpy_float64(values: Any) -> np.ndarray:
    """Convert a numpy array, or a torch tensor on any device, to numpy in float64."""
    array = values if isinstance(values, np.ndarray) else values.cpu().numpy()
    return np.asarray(array, dtype=np.float64)
