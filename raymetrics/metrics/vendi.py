"""The Vendi score (Friedman & Dieng 2023): the effective number of different samples of a set."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigvalsh
from scipy.special import entr

from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.statistics import Moments


def vendi_score(normalized_moments: Moments) -> float:
    """Compute exp of the entropy of the eigenvalues of K / n (Definition 3.1), K of cosines.

    normalized_moments: of features scaled to length 1, see `raymetrics.metrics.unit_length`. The
    score is from 1, if all have one direction, to the smaller of count and dimension. NotEnoughData
    for no samples, ShardError if the features were not scaled.
    """
    if not normalized_moments.count:
        raise NotEnoughData("the Vendi score of no samples; it takes at least 1")
    gram = _uncentered_second_moment(normalized_moments)
    if abs(np.trace(gram) - 1) > 1e-6:
        raise ShardError(
            f"the Vendi score of features with a mean squared length of {np.trace(gram):.6g}, "
            "expected 1; scale them with raymetrics.metrics.unit_length first"
        )
    # Eigenvalues that should be 0 are rounding errors of either sign.
    return float(np.exp(entr(eigvalsh(gram).clip(min=0)).sum()))


def _uncentered_second_moment(moments: Moments) -> np.ndarray:
    """Compute X^T X / n, float64 [d, d], whose eigenvalues are those of X X^T / n and zeros."""
    gram: np.ndarray = moments.scatter / moments.count + np.outer(moments.mean, moments.mean)
    return gram
