"""The weighted mean and covariance of features, for the Frechet distance of weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from raymetrics.statistics.processors import as_float64, cast_like, to_numpy_float64


@dataclass(frozen=True, eq=False)
class WeightedMoments:
    """Sums over samples x of weight w, in float64, as arrays of numpy or tensors of torch.

    The samples must have been shifted by one common vector to a mean of about zero: the covariance
    is a difference, and is exact only where the mean is not large against the deviation.
    """

    weight: float  # sum of w
    sums: Any  # [d]: sum of w x
    products: Any  # [d, d]: sum of w x x^T

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Return the sums over no samples of this dimension."""
        return cls(0.0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def from_samples(cls, features: Any, weights: np.ndarray) -> Self:
        """Sum over weighted samples.

        features: real [n, d], of numpy or torch; weights: float64 [n] of numpy, not negative.
        The products are computed in the type of the features; they and all sums stay in the
        library of the features, and on their device. With float32
        their rounding errors average out over some thousand rows at most: merge blocks of that
        size, since the sums of blocks are added in float64.
        """
        scaled = features * cast_like(np.sqrt(weights), features)[:, None]
        return cls(
            float(weights.sum()),
            as_float64(cast_like(weights, features) @ features),
            as_float64(scaled.T @ scaled),
        )

    def to_numpy(self) -> Self:
        """Return the sums as arrays of numpy."""
        return replace(
            self, sums=to_numpy_float64(self.sums), products=to_numpy_float64(self.products)
        )

    def cast_like(self, array: Any) -> Self:
        """Return the sums in the library, type and device of an array."""
        sums, products = (cast_like(values, array) for values in (self.sums, self.products))
        return replace(self, sums=sums, products=products)

    def merge(self, addend: Self) -> Self:
        """Add the sums over both sets. ValueError if their dimensions differ."""
        if self.sums.shape != addend.sums.shape:
            raise ValueError(f"moments of {len(self.sums)} and {len(addend.sums)} dimensions")
        return type(self)(
            self.weight + addend.weight, self.sums + addend.sums, self.products + addend.products
        )

    @property
    def mean(self) -> Any:
        """The weighted mean, float64 [d]."""
        return self.sums / self.weight

    def covariance(self, ddof: float = 0) -> Any:
        """Compute the covariance, float64 [d, d], divided by the sum of weights minus ddof."""
        return (self.products - self.sums[:, None] * self.mean) / (self.weight - ddof)
