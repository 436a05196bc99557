"""Sets of features as the operands of products, with a bound on the error of every distance.

A product of two operands, less both half norms, gives an upper bound of -distance^2 / 2, and less
twice both errors a lower bound. docs/design/exactness.md has the proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

ROUNDOFF64 = 2.0**-53
_SAMPLE_ROWS = 1024  # rows that the directions of a sketch are fitted to
_PROBED_ROWS = 256  # that tell whether sketches are worth a try
_LARGEST_NORM = 2.0**7  # of a scaled row: its numbers fit into float16, its square into float32
_LARGEST_NUMBER, _LARGEST_HALF_NORM = 2.0**50, 2.0**100  # whose products float32 can hold
_SMALLEST32 = 2.0**-120  # what underflow in float32 may cost a term, with a margin
_CONVERTED_ROWS = 64  # few enough for float64 copies to stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Operand:
    """Some rows in the numbers of a fast product.

    vectors: [b, w] on the processor. half_norms: |z|^2 / 2 less the error, float64 [b].
    errors: a row's share of the error of a product, float64 [b].
    """

    vectors: Any
    half_norms: np.ndarray
    errors: np.ndarray


def error_shares(
    norms: np.ndarray, residuals: np.ndarray, terms: int, unit: float, accumulation: float
) -> np.ndarray:
    """Bound a row's share E of the error of z_i.z_j - |z_i|^2 / 2 - |z_j|^2 / 2, float64 [b].

    The value computed from rounded vectors differs by at most E_i + E_j. norms, residuals: |z| and
    |z - rounded z|. unit: roundoff of the rounded numbers; accumulation: of sums of products.
    """
    squared = np.square(norms + residuals)
    rounding = (np.square(residuals) / unit + unit * squared) / 2
    summing = ((terms / 2 + 12) * accumulation + (terms / 2 + 16) * ROUNDOFF64) * squared
    return rounding + summing + terms * _SMALLEST32


@dataclass(frozen=True, eq=False)
class Sketcher:
    """Directions P in which features differ most; a sketch is [z P, |z - z P P^T|].

    The distance of two sketches is at most that of the features, by the triangle inequality in the
    complement of P, for any orthonormal P.
    """

    directions: np.ndarray  # float64 [d, p]
    defect: float  # how far from orthonormal they are: |P^T P - 1|

    @classmethod
    def fit(cls, rows: np.ndarray, width: int) -> Sketcher:
        """Fit `width` directions to centered rows, float64 [n, d], by a randomized range finder.

        (Halko et al. 2011, Algorithm 4.3, one power iteration, fixed seed.) Their quality changes
        the speed and no result.
        """
        noise = np.random.default_rng(0).normal(size=(rows.shape[1], min(width + 8, len(rows))))
        spread = np.linalg.qr(rows.T @ (rows @ noise))[0]
        projected = rows @ spread
        rotation = np.linalg.eigh(projected.T @ projected)[1][:, ::-1][:, :width]
        directions = spread @ rotation
        gram = directions.T @ directions
        return cls(directions, float(np.linalg.norm(gram - np.eye(len(gram)))))

    def sketch(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sketches of rows, float64 [b, p + 1], and a bound on their error [b]."""
        squared = np.einsum("nd,nd->n", z, z)
        projected = z @ self.directions
        rest_squared = squared - np.einsum("nd,nd->n", projected, projected)
        rest = np.sqrt(rest_squared.clip(min=0))
        wrong = (8 * (z.shape[1] + 8) * ROUNDOFF64 + 4 * self.defect) * squared
        rest_error = wrong / np.maximum(np.sqrt(wrong), rest).clip(min=1e-300)
        return np.column_stack([projected, rest]), rest_error + self.defect * np.sqrt(squared)


class PreparedSet:
    """A set of features with a center and a scale, whose operands are made when needed."""

    def __init__(self, features: np.ndarray, frame: Frame, processor: Any) -> None:
        self.features, self.frame, self.processor = features, frame, processor
        self.operands: dict[tuple[int, int], Operand] = {}
        self.locks: dict[tuple[int, int], Lock] = {}

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def uploaded(self) -> Any:
        """The features on the processor."""
        return self.processor.upload(self.features)

    def operand(self, rows: slice, width: int) -> Operand:
        """Return the operand of some rows; width 0: of whole features."""
        key = rows.start, width
        with self.locks.setdefault(key, Lock()):
            if key not in self.operands:
                self.operands[key] = self._make_operand(rows, width)
        return self.operands[key]

    def _make_operand(self, rows: slice, width: int) -> Operand:
        count, terms = rows.stop - rows.start, (width + 1 if width else self.features.shape[1])
        vectors = np.empty((count, terms), self.processor.screen_type)
        norms, residuals = np.empty(count), np.empty(count)
        # A set that was prepared for another may be larger; what is cut off is residual.
        largest = min(float(np.finfo(vectors.dtype).max), _LARGEST_NUMBER)
        for start in range(0, count, _CONVERTED_ROWS):
            part = slice(start, min(start + _CONVERTED_ROWS, count))
            z = self.frame.move(self.features[rows.start + part.start : rows.start + part.stop])
            error: Any = 0.0
            if width:
                z, error = self.frame.sketcher.sketch(z)
            norms[part] = np.sqrt(np.einsum("nd,nd->n", z, z))
            vectors[part] = np.clip(z, -largest, largest)
            z -= vectors[part]
            residuals[part] = np.sqrt(np.einsum("nd,nd->n", z, z)) + error
        unit, accumulation = self.processor.unit, self.processor.accumulation
        errors = error_shares(norms, residuals, terms, unit, accumulation)
        half_norms = np.maximum(np.square(norms) / 2 - errors, -_LARGEST_HALF_NORM)
        return Operand(self.processor.upload(vectors), half_norms, errors)


class Frame:
    """The center and the scale that sets share, and the directions of their sketches.

    part: sketches have d / part directions.
    """

    def __init__(self, *sets: np.ndarray, part: int) -> None:
        total = sum(features.sum(axis=0, dtype=np.float64) for features in sets)
        self.center = total / max(1, sum(map(len, sets)))
        self.scale = _unit_scale(self.center, *sets)
        size = max(1, _SAMPLE_ROWS // len(sets))
        self.sample = np.concatenate([evenly_spaced_rows(features, size) for features in sets])
        self.sketch_width = max(1, min(len(self.center) // part, len(self.sample)))
        self.lock = Lock()

    def move(self, rows: np.ndarray) -> np.ndarray:
        """Move rows to the center and scale, float64 [b, d]."""
        moved: np.ndarray = rows.astype(np.float64)
        moved -= self.center
        moved *= self.scale
        return moved

    @cached_property
    def effective_dimension(self) -> float:
        """The participation ratio: (sum of the covariance's eigenvalues)^2 / sum of their squares.

        Estimated from products of different rows, so that it has no bias of few rows.
        """
        rows = self.move(evenly_spaced_rows(self.sample, _PROBED_ROWS))
        products = rows @ rows.T
        variance = np.diag(products).mean()
        np.fill_diagonal(products, 0)
        squared = np.square(products).sum() / max(1, len(rows) * (len(rows) - 1))
        return float(variance**2 / squared) if squared else 0.0

    @property
    def sketcher(self) -> Sketcher:
        """The directions of sketches, fitted once."""
        with self.lock:
            return self._sketcher

    @cached_property
    def _sketcher(self) -> Sketcher:
        return Sketcher.fit(self.move(self.sample), self.sketch_width)


def share_left_open(left: PreparedSet, right: PreparedSet) -> float:
    """Estimate the share of pairs that sketches leave open: no further apart than a neighbor.

    Of a few rows, whose neighbors are further away than those of the whole set.
    """
    x, y = (
        part.frame.move(evenly_spaced_rows(part.features[1:], _PROBED_ROWS))
        for part in (left, right)
    )
    of_left, of_right = (left.frame.sketcher.sketch(z)[0] for z in (x, y))
    reach = np.partition(_squared_distances(x, x), 1, axis=1)[:, 1]
    return float((_squared_distances(of_left, of_right) <= reach[:, None]).mean())


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute squared distances of rows, float64 [b, c], as they come."""
    norms = (np.einsum("nd,nd->n", z, z) for z in (x, y))
    return np.add.outer(*norms) - 2 * x @ y.T


def evenly_spaced_rows(rows: np.ndarray, size: int) -> np.ndarray:
    """Return at most `size` of the rows, evenly spaced."""
    return rows[:: max(1, len(rows) // size)][:size]


def _unit_scale(center: np.ndarray, *sets: np.ndarray) -> float:
    """Choose a power of two by which the norm of every centered row is at most 2^7.

    A power of two rounds nothing in float64.
    """
    largest = max(
        (max(abs(float(a.max())), abs(float(a.min()))) for a in sets if a.size), default=0.0
    )
    norm = (largest + float(np.abs(center).max(initial=0))) * max(1, len(center)) ** 0.5
    return float(2.0 ** -np.ceil(np.log2(norm / _LARGEST_NORM))) if norm else 1.0
