"""Short float32 vectors whose distances are those of the features, or never exceed them.

Both sets are centred by one joint mean first: what float32 loses in |x|^2 + |y|^2 - 2 x.y grows
with the distance to the origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors.faiss_indexes import blocks

SAMPLE = 1024  # rows that a projection is fitted to
BLOCK = 1024  # rows in float64 at a time


def joint_mean(*sets: np.ndarray) -> np.ndarray:
    """The float64 mean [d] of the rows of all sets; 0 of none."""
    total = sum(features.sum(axis=0, dtype=np.float64) for features in sets)
    mean: np.ndarray = total / max(1, sum(map(len, sets)))
    return mean


def sample(rows: np.ndarray, size: int) -> np.ndarray:
    """At most `size` of the rows, evenly spread."""
    return rows[:: max(1, len(rows) // size)][:size]


def squared_norms(rows: np.ndarray) -> np.ndarray:
    """float64 [n]."""
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Full:
    """All coordinates: distances are those of the features, but for rounding."""

    centre: np.ndarray  # float64 [d]
    exact = True

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, d]."""
        found = np.empty(rows.shape, np.float32)
        for some in blocks(len(rows), BLOCK):
            found[some] = rows[some].astype(np.float64) - self.centre
        return found


@dataclass(frozen=True, eq=False)
class LowerBound:
    """The coordinates in a subspace, and the length of what is left outside of it.

    |Px - Py|^2 + (|x - Px| - |y - Py|)^2 is at most |x - y|^2, by the triangle inequality in the
    subspace's complement, for any orthonormal P. In float64 before it is rounded, so that
    rounding is all that can be wrong.
    """

    centre: np.ndarray  # float64 [d]
    directions: np.ndarray  # float64 [d, p], orthonormal columns
    exact = False

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [n, p + 1]."""
        found = np.empty((len(rows), self.directions.shape[1] + 1), np.float32)
        for some in blocks(len(rows), BLOCK):
            x = rows[some].astype(np.float64) - self.centre
            inside = x @ self.directions
            left = squared_norms(x) - squared_norms(inside)
            found[some, :-1], found[some, -1] = inside, np.sqrt(left.clip(min=0))
        return found


Sketch = Full | LowerBound


class Placed:
    """Features, and their sketches: kept if they are short, made when they are asked for if not.

    scale: a power of two by which the sketches and `features` are larger than what was given.
    """

    def __init__(self, sketch: Sketch, given: np.ndarray, scale: float) -> None:
        self.sketch, self.scale = sketch, scale
        self.features = given if scale == 1 else given * scale
        self.kept = None if sketch.exact else sketch(self.features)
        self.norms = np.empty(len(given))  # of the sketches, squared
        for some in blocks(len(given), BLOCK):
            self.norms[some] = squared_norms(self.vectors(some))

    def __len__(self) -> int:
        return len(self.features)

    def vectors(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """float32 [b, p], of some rows."""
        return self.sketch(self.features[rows]) if self.kept is None else self.kept[rows]


def unit_scale(*arrays: np.ndarray) -> float:
    """A power of two that brings the largest number near 1, where float32's squares neither
    overflow nor vanish; 1 if they do not anyway. Multiplying by it rounds nothing: the products
    are float64, as float32 cannot hold small numbers beside large ones in any scale."""
    largest = max((float(np.abs(a).max(initial=0)) for a in arrays), default=0.0)
    if not largest or 2.0**-20 < largest < 2.0**20:
        return 1.0
    return np.float64(2.0 ** -np.floor(np.log2(largest)))


def scaled_radii(radii: np.ndarray, scale: float) -> np.ndarray:
    """Radii on that scale; what is below 0, by however little, stays there."""
    return np.where(radii < 0, -1.0, radii * scale)


def leading_directions(rows: np.ndarray, centre: np.ndarray, dimensions: int) -> np.ndarray:
    """Orthonormal float64 [d, dimensions], about those of the largest variance.

    rows: real [n, d], the sample that they are fitted to. A randomized range finder with one
    power iteration (Halko et al. 2011, Algorithm 4.3); seeded. How good they are changes the
    speed, and no answer.
    """
    some = rows.astype(np.float64) - centre
    noise = np.random.default_rng(0).normal(size=(some.shape[1], dimensions + 8))
    spread = np.linalg.qr(some.T @ (some @ noise))[0]
    _, _, rotation = np.linalg.svd(some @ spread, full_matrices=False)
    directions: np.ndarray = spread @ rotation[:dimensions].T
    return directions
