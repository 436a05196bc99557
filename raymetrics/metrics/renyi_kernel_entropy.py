"""Renyi kernel entropy and its relative form (Jalali, Li & Farnia 2023)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, svdvals

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.unit_length import normalize_rows
from raymetrics.metrics.vendi import uncentered_second_moment
from raymetrics.statistics import Moments

_BLOCK_ROWS = 2048


def gaussian_mode_count(features: np.ndarray, sigma: float) -> float:
    """Compute 1 / the mean of k(x, y)^2 over all pairs, k = exp(-|x - y|^2 / (2 sigma^2)).

    That is exp of the entropy of order 2, the RKE mode count. features: real [n, d]. Holds a block
    of kernels at a time, in float64. NotEnoughData for no samples. With a kernel of cosines it is
    the Vendi score of order 2.
    """
    if not len(features):
        raise NotEnoughData("the Renyi kernel entropy of no samples; it takes at least 1")
    x = features - features.mean(axis=0, dtype=np.float64)
    blocks = [x[i : i + _BLOCK_ROWS] for i in range(0, len(x), _BLOCK_ROWS)]
    total = 0.0
    for i, rows in enumerate(blocks):
        total += (gaussian_kernel(rows, rows, sigma) ** 2).sum()
        for columns in blocks[i + 1 :]:
            total += 2 * (gaussian_kernel(rows, columns, sigma) ** 2).sum()
    return float(len(x) ** 2 / total)


def gaussian_kernel(x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """Compute exp(-|x - y|^2 / (2 sigma^2)) of rows, float64 [n, m]."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    squared = np.add.outer(np.einsum("nd,nd->n", x, x), np.einsum("nd,nd->n", y, y)) - 2 * x @ y.T
    kernel: np.ndarray = np.exp(squared.clip(min=0) / (-2 * sigma**2))
    return kernel


def cosine_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute the cosines of rows, float64 [n, m]. ShardError for a row of zeros."""
    cosines: np.ndarray = normalize_rows(x) @ normalize_rows(y).T
    return cosines


def relative_entropy(kernel: np.ndarray) -> float:
    """Compute -log of the squared nuclear norm of K_xy / sqrt(n m), the relative entropy of order
    1/2; about 0 for equal sets. kernel: float64 [n, m]."""
    return _minus_log_square(svdvals(kernel).sum() / np.sqrt(kernel.size))


def relative_cosine_entropy(*, real: Moments, generated: Moments) -> float:
    """Compute `relative_entropy` with the kernel of cosines, of any number of samples.

    real, generated: moments of features scaled to length 1. The singular values of X Y^T are those
    of A^T B, if A A^T = X^T X / n and B B^T = Y^T Y / m.
    """
    a, b = (_root(uncentered_second_moment(side)) for side in (real, generated))
    return _minus_log_square(svdvals(a.T @ b).sum())


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return A with A A^T = a positive semidefinite matrix."""
    eigenvalues, vectors = eigh(matrix)
    root: np.ndarray = vectors * np.sqrt(eigenvalues.clip(min=0))
    return root


def _minus_log_square(norm: float) -> float:
    """Compute -log norm^2, of which 0 is never -0."""
    return float(-2 * np.log(norm)) + 0.0
