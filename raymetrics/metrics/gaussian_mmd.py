"""The squared maximum mean discrepancy with a Gaussian kernel (Gretton et al. 2012)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from raymetrics.metrics.pair_tiles import map_tiles, map_upper_tiles

MMDEstimate = Literal["biased", "unbiased"]


def gaussian_mmd(x: np.ndarray, y: np.ndarray, bandwidth: float, estimate: MMDEstimate) -> float:
    """Compute MMD^2 with the kernel exp(-|x - y|^2 / (2 bandwidth^2)), over all pairs.

    x, y: float64 [n, d], [m, d]. The biased estimate (Gretton et al. 2012, Eq. 5) has the kernel of
    each sample with itself, the unbiased one (Eq. 3) has not, may be below 0, and takes two samples
    of each.
    """
    center = x.mean(axis=0)  # without which distances far from the origin would lose digits
    x, y = (x - center) / bandwidth, (y - center) / bandwidth
    within = _mean_within(x, estimate) + _mean_within(y, estimate)
    return within - 2 * _mean_between(x, y)


def gaussian_mmd_influences(
    x: np.ndarray, y: np.ndarray, bandwidth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return n times what each row adds to the biased MMD^2, to first order, float64 [n], [m].

    It is twice the mean kernel with the row's own side less that with the other side.
    """
    center = x.mean(axis=0)
    x, y = (x - center) / bandwidth, (y - center) / bandwidth
    of_x, of_y = (
        2 * (_row_means(own, own) - _row_means(own, other)) for own, other in ((x, y), (y, x))
    )
    return of_x, of_y


def _row_means(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the mean kernel of each row of x with all rows of y, float64 [n]."""
    of_x, of_y = _half_squared_lengths(x), _half_squared_lengths(y)

    def add(rows: slice, columns: slice) -> tuple[slice, np.ndarray]:
        kernel = _unit_gaussian(x[rows], y[columns], of_x[rows], of_y[columns])
        return rows, kernel.sum(axis=1)

    sums = np.zeros(len(x))
    for rows, part in map_tiles(add, len(x), len(y)):
        sums[rows] += part
    return sums / len(y)


def _mean_within(x: np.ndarray, estimate: MMDEstimate) -> float:
    """Compute the mean kernel of all pairs of rows, with or without those of equal rows."""
    halves = _half_squared_lengths(x)
    count, diagonal = len(x), 1.0 if estimate == "biased" else 0.0

    def add(rows: slice, columns: slice) -> float:
        kernel = _unit_gaussian(x[rows], x[columns], halves[rows], halves[columns])
        if rows == columns:
            np.fill_diagonal(kernel, diagonal)
            return float(kernel.sum())
        return 2 * float(kernel.sum())

    pairs = count * count if estimate == "biased" else count * (count - 1)
    return sum(map_upper_tiles(add, count)) / pairs


def _mean_between(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the mean kernel of all rows of x with all rows of y."""
    of_x, of_y = _half_squared_lengths(x), _half_squared_lengths(y)

    def add(rows: slice, columns: slice) -> float:
        return float(_unit_gaussian(x[rows], y[columns], of_x[rows], of_y[columns]).sum())

    return sum(map_tiles(add, len(x), len(y))) / (len(x) * len(y))


def _half_squared_lengths(x: np.ndarray) -> np.ndarray:
    """Compute |x|^2 / 2 of every row, float64 [n]."""
    halves: np.ndarray = np.einsum("ij,ij->i", x, x) / 2
    return halves


def _unit_gaussian(x: np.ndarray, y: np.ndarray, of_x: np.ndarray, of_y: np.ndarray) -> np.ndarray:
    """Compute exp(-|x - y|^2 / 2), where -|x - y|^2 / 2 = x . y - |x|^2 / 2 - |y|^2 / 2."""
    values = x @ y.T
    values -= of_x[:, None]
    values -= of_y
    kernel: np.ndarray = np.exp(values, out=values)
    return kernel
