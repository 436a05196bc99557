"""The geometry of a reference set, by which FID follows quality or not (arXiv 2605.29335)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh
from scipy.special import entr

from raymetrics.errors import NotEnoughData
from raymetrics.statistics import Moments


def log_density(radii: np.ndarray) -> float:
    """Compute the mean of -log r_k; radii: float64 [n], to the k-th nearest neighbor.

    Infinite where a sample has k copies.
    """
    with np.errstate(divide="ignore"):
        return float(-np.log(radii).mean())


def effective_rank(moments: Moments) -> float:
    """Compute exp of the entropy of the singular values of the centered features (Roy & Vetterli
    2007), divided by their sum.

    NotEnoughData for samples that do not differ.
    """
    squares = eigvalsh(moments.scatter)
    # Below this, eigenvalues are rounding errors of 0, whose roots would be felt.
    squares[squares <= squares.max() * len(squares) * np.finfo(float).eps] = 0
    values = np.sqrt(squares)
    if not values.sum() > 0:
        raise NotEnoughData(
            f"the effective rank of {moments.count} equal samples; it takes 2 different ones"
        )
    return float(np.exp(entr(values / values.sum()).sum()))
