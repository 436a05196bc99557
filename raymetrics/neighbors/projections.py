"""Short float32 vectors whose distances are those of the features, or never exceed them.

Both sets are centred by one joint mean first: what float32 loses in |x|^2 + |y|^2 - 2 x.y grows
with the distance to the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors.faiss_indexes import row_slices

SAMPLE_ROWS = 1024  # rows that a projection is fitted to
BLOCK = 1024  # rows in float64 at a time


def joint_mean(*sets: np.ndarray) -> np.ndarray:
    """The float64 mean [d] of the rows of all sets; 0 of none."""
    total = sum(features.sum(axis=0, dtype=np.float64) for features in sets)
    mean: np.ndarray = total / max(1, sum(map(len, sets)))
    return mean


def evenly_spaced_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """At most `size` of the rows, evenly spread."""
    return rows[:: max(1, len(rows) // size)][:size]


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """float64 [n]."""
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class FullSketch:
    """All coordinates: distances are those of the features, but for rounding."""

    center: np.ndarray  # float64 [d]
    exact = True

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, d]."""
        vectors = np.empty(rows.shape, np.float32)
        for block in row_slices(len(rows), BLOCK):
            vectors[block] = rows[block].astype(np.float64) - self.center
        return vectors


@dataclass(frozen=True, eq=False)
class LowerBoundSketch:
    """The coordinates in a subspace, and the length of what is left outside of it.

    |Px - Py|^2 + (|x - Px| - |y - Py|)^2 is at most |x - y|^2, by the triangle inequality in the
    subspace's complement, for any orthonormal P. In float64 before it is rounded, so that
    rounding is all that can be wrong.
    """

    center: np.ndarray  # float64 [d]
    directions: np.ndarray  # float64 [d, p], orthonormal columns
    exact = False

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, p + 1]."""
        vectors = np.empty((len(rows), self.directions.shape[1] + 1), np.float32)
        for block in row_slices(len(rows), BLOCK):
            x = rows[block].astype(np.float64) - self.center
            projected = x @ self.directions
            rest_squared = squared_norms(x) - squared_norms(projected)
            vectors[block, :-1], vectors[block, -1] = projected, np.sqrt(rest_squared.clip(min=0))
        return vectors


Sketch = FullSketch | LowerBoundSketch


class PreparedSet:
    """Features, and their sketches: kept if they are short, made when they are asked for if not.

    scale: a power of two by which the sketches and `features` are larger than what was given.
    """

    def __init__(self, sketch: Sketch, features: np.ndarray, scale: float) -> None:
        self.sketch, self.scale = sketch, scale
        self.features = features if scale == 1 else features * scale
        self.stored_vectors = None if sketch.exact else sketch(self.features)
        self.norms = np.empty(len(features))  # of the sketches, squared
        for block in row_slices(len(features), BLOCK):
            self.norms[block] = squared_norms(self.vectors(block))

    def __len__(self) -> int:
        return len(self.features)

    def vectors(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float32 [b, p], of some rows."""
        return (
            self.sketch(self.features[rows])
            if self.stored_vectors is None
            else self.stored_vectors[rows]
        )


def unit_scale(*arrays: np.ndarray) -> float:
    """A power of two that brings the largest number near 1, where float32's squares neither
    overflow nor vanish; 1 if they do not anyway. Multiplying by it rounds nothing: the products
    are float64, as float32 cannot hold small numbers beside large ones in any scale."""
    largest = max((float(np.abs(a).max(initial=0)) for a in arrays), default=0.0)
    if not largest or 2.0**-20 < largest < 2.0**20:
        return 1.0
    return np.float64(2.0 ** -np.floor(np.log2(largest)))


def scale_radii(radii: np.ndarray, scale: float) -> np.ndarray:
    """Radii on that scale; what is below 0, by however little, stays there."""
    return np.where(radii < 0, -1.0, radii * scale)


def leading_directions(rows: np.ndarray, center: np.ndarray, dimensions: int) -> np.ndarray:
    """Orthonormal float64 [d, dimensions], about those of the largest variance.

    rows: real [n, d], the sample that they are fitted to. A randomized range finder with one
    power iteration (Halko et al. 2011, Algorithm 4.3); seeded. How good they are changes the
    speed, and no answer.
    """
    centered = rows.astype(np.float64) - center
    noise = np.random.default_rng(0).normal(size=(centered.shape[1], dimensions + 8))
    spread = np.linalg.qr(centered.T @ (centered @ noise))[0]
    _, _, rotation = np.linalg.svd(centered @ spread, full_matrices=False)
    directions: np.ndarray = spread @ rotation[:dimensions].T
    return directions
