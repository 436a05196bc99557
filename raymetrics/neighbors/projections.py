"""Short float32 vectors whose distances equal those of the features, or are lower bounds.

A joint mean is first subtracted from both sets, because the error of |x|^2 + |y|^2 - 2 x.y in
float32 grows with the distance to the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors.faiss_indexes import row_slices

SAMPLE_ROWS = 1024  # rows to fit a projection to
BLOCK = 1024  # rows in float64 at a time


def joint_mean(*sets: np.ndarray) -> np.ndarray:
    """Compute the mean of the rows of all sets, float64 [d]; 0 without rows."""
    total = sum(features.sum(axis=0, dtype=np.float64) for features in sets)
    mean: np.ndarray = total / max(1, sum(map(len, sets)))
    return mean


def evenly_spaced_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """Return at most `size` of the rows, evenly spaced."""
    return rows[:: max(1, len(rows) // size)][:size]


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """Compute the squared norms of rows, float64 [n]."""
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class FullSketch:
    """All coordinates: distances equal those of the features up to rounding."""

    center: np.ndarray  # float64 [d]
    exact = True

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Compute the sketches of rows, float32 [n, d]."""
        vectors = np.empty(rows.shape, np.float32)
        for block in row_slices(len(rows), BLOCK):
            vectors[block] = rows[block].astype(np.float64) - self.center
        return vectors


@dataclass(frozen=True, eq=False)
class LowerBoundSketch:
    """The coordinates in a subspace, and the length of the rest outside of the subspace.

    |Px - Py|^2 + (|x - Px| - |y - Py|)^2 is at most |x - y|^2 for any orthonormal P, by the
    triangle inequality in the subspace's complement. The sketch is computed in float64 and then
    rounded, so that rounding is its only error.
    """

    center: np.ndarray  # float64 [d]
    directions: np.ndarray  # float64 [d, p], orthonormal columns
    exact = False

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Compute the sketches of rows, float32 [n, p + 1]."""
        vectors = np.empty((len(rows), self.directions.shape[1] + 1), np.float32)
        for block in row_slices(len(rows), BLOCK):
            x = rows[block].astype(np.float64) - self.center
            projected = x @ self.directions
            rest_squared = squared_norms(x) - squared_norms(projected)
            vectors[block, :-1], vectors[block, -1] = projected, np.sqrt(rest_squared.clip(min=0))
        return vectors


Sketch = FullSketch | LowerBoundSketch


class PreparedSet:
    """Features with their sketches: short sketches are stored, full sketches computed when needed.

    scale: the power of two by which the features were multiplied.
    """

    def __init__(self, sketch: Sketch, features: np.ndarray, scale: float) -> None:
        self.sketch, self.scale = sketch, scale
        self.features = features if scale == 1 else features * scale
        self.stored_vectors = None if sketch.exact else sketch(self.features)
        self.norms = np.empty(len(features))  # squared norms of the sketches
        for block in row_slices(len(features), BLOCK):
            self.norms[block] = squared_norms(self.vectors(block))

    def __len__(self) -> int:
        return len(self.features)

    def vectors(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Return the sketches of some rows, float32 [b, p]."""
        return (
            self.sketch(self.features[rows])
            if self.stored_vectors is None
            else self.stored_vectors[rows]
        )


def unit_scale(*arrays: np.ndarray) -> float:
    """Choose a power of two that brings the largest number near 1, or 1 if that is not necessary.

    Near 1 squares neither overflow nor underflow in float32. A power of two rounds nothing, because
    the products are float64: in no scale does float32 hold small numbers beside large ones.
    """
    largest = max((float(np.abs(a).max(initial=0)) for a in arrays), default=0.0)
    if not largest or 2.0**-20 < largest < 2.0**20:
        return 1.0
    return np.float64(2.0 ** -np.floor(np.log2(largest)))


def scale_radii(radii: np.ndarray, scale: float) -> np.ndarray:
    """Multiply radii by the scale; a radius below 0, however small, becomes -1."""
    return np.where(radii < 0, -1.0, radii * scale)


def leading_directions(rows: np.ndarray, center: np.ndarray, dimensions: int) -> np.ndarray:
    """Compute orthonormal directions of about the largest variance, float64 [d, dimensions].

    rows: real [n, d], the sample to fit to. A randomized range finder with one power iteration
    (Halko et al. 2011, Algorithm 4.3), with a fixed seed. The quality of the directions changes the
    speed, and no result.
    """
    centered = rows.astype(np.float64) - center
    noise = np.random.default_rng(0).normal(size=(centered.shape[1], dimensions + 8))
    spread = np.linalg.qr(centered.T @ (centered @ noise))[0]
    _, _, rotation = np.linalg.svd(centered @ spread, full_matrices=False)
    directions: np.ndarray = spread @ rotation[:dimensions].T
    return directions
