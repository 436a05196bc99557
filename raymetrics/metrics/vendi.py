"""The Vendi score (Friedman & Dieng 2023): the effective number of different samples of a set.

Of any order (Pasarkar & Dieng 2024).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh
from scipy.special import entr

from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.statistics import Moments


def vendi_score(normalized_moments: Moments, order: float = 1.0) -> float:
    """Compute exp of the entropy of the eigenvalues of K / n (Definition 3.1), K of cosines.

    normalized_moments: of features scaled to length 1, see `raymetrics.metrics.unit_length`. order:
    of the entropy, from 0, which gives the rank, by 1, Shannon's, to infinity, which gives 1 / the
    largest eigenvalue. The score is from 1, if all have one direction, to the smaller of count and
    dimension. NotEnoughData for no samples, ShardError if the features were not scaled.
    """
    require_order(order)
    if not normalized_moments.count:
        raise NotEnoughData("the Vendi score of no samples; it takes at least 1")
    gram = uncentered_second_moment(normalized_moments)
    if abs(np.trace(gram) - 1) > 1e-6:
        raise ShardError(
            f"the Vendi score of features with a mean squared length of {np.trace(gram):.6g}, "
            "expected 1; scale them with raymetrics.metrics.unit_length first"
        )
    if order == 2:
        return float(1 / np.square(gram).sum())  # without eigenvalues, whose squares are these
    # Eigenvalues that should be 0 are rounding errors of either sign.
    return effective_number(eigvalsh(gram).clip(min=0), order)


def effective_number(eigenvalues: np.ndarray, order: float) -> float:
    """Compute exp of the Renyi entropy of an order: (sum p^q)^(1 / (1 - q)).

    eigenvalues: float64 [d], at least 0, which add up to 1. Below order 1, where rounding errors of
    0 would weigh as much as true ones, the smallest are left out.
    """
    if order == 1:
        return float(np.exp(entr(eigenvalues).sum()))
    if np.isinf(order):
        return float(1 / eigenvalues.max())
    if order < 1:
        threshold = eigenvalues.max() * len(eigenvalues) * np.finfo(float).eps
        eigenvalues = eigenvalues[eigenvalues > threshold]
    largest = eigenvalues.max()  # whose power stands aside, so that none underflows
    log_sum = order * np.log(largest) + np.log(((eigenvalues / largest) ** order).sum())
    return float(np.exp(log_sum / (1 - order)))


def require_order(order: float) -> None:
    """Raise RaymetricsError unless the order is a number from 0 on, or infinity."""
    if not order >= 0:
        raise RaymetricsError(f"the order of the Vendi score is {order}, expected 0 to inf")


def uncentered_second_moment(moments: Moments) -> np.ndarray:
    """Compute X^T X / n, float64 [d, d], whose eigenvalues are those of X X^T / n and zeros."""
    gram: np.ndarray = moments.scatter / moments.count + np.outer(moments.mean, moments.mean)
    return gram
