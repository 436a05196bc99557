"""Products of distance / reach over the pairs within reach, in float64, tile by tile.

Probabilistic precision and recall take every distance below one radius, which may be those of most
pairs. So squared distances come from a product of matrices, and from differences only where
rounding would be felt: near 0.
"""

from __future__ import annotations

import numpy as np

from raymetrics.neighbors.exact_distances import pair_distances

SIDE = 1024  # rows of a tile
_STRIP_ROWS = 64  # of a tile that stay in the cache while they are multiplied
# Of both squared norms: a squared distance above this share has a relative error below 2^-23, for
# up to 2^12 dimensions; most have a far smaller one.
_SAFE_SHARE = 2.0**-18


def squared_misses(
    left: np.ndarray, right: np.ndarray, rows: slice, columns: slice, reaches: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Multiply (distance / reach)^2 over the pairs of a tile that are within reach.

    left, right: real [n, d], [m, d]. reaches: of the left and of the right rows. Returns the
    products of the tile's right rows, over the left ones that reach them, float64 [columns], and
    those of its left rows, float64 [rows].
    """
    squared = _squared_distances(left, right, rows, columns)
    of_right, of_left = np.ones(squared.shape[1]), np.ones(len(squared))
    for start in range(0, len(squared), _STRIP_ROWS):
        strip = slice(start, start + _STRIP_ROWS)
        if reaches[0] > 0:
            of_right *= np.minimum(squared[strip] / reaches[0] ** 2, 1).prod(axis=0)
        if reaches[1] > 0:
            of_left[strip] = np.minimum(squared[strip] / reaches[1] ** 2, 1).prod(axis=1)
    return of_right, of_left


def _squared_distances(
    left: np.ndarray, right: np.ndarray, rows: slice, columns: slice
) -> np.ndarray:
    """Compute the squared distances of a tile, float64 [rows, columns], around its own center."""
    center = left[rows].mean(axis=0, dtype=np.float64)
    x, y = left[rows] - center, right[columns] - center
    norms = np.add.outer(np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y))
    squared: np.ndarray = norms - 2 * (x @ y.T)
    i, j = np.nonzero(squared < _SAFE_SHARE * norms)
    exact = pair_distances(left, right, i + rows.start, j + columns.start)
    squared[i, j] = np.square(exact)
    return squared
