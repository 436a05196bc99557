"""JEDi (Luo et al. 2024, arXiv 2410.05203): a kernel distance of V-JEPA features of clips."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.statistics import Moments

_SCALE = 100


def jedi(*, real: Moments, generated: Moments) -> float:
    """Compute 100 MMD^2 with the kernel (x.y / d)^2, by the biased estimate.

    The mean of the kernel over all pairs, also of a sample with itself as in the authors' program,
    is the product of two matrices of second moments: 100 |A - B|^2 / d^2 in the Frobenius norm,
    with A = X^T X / n. So it streams, and no kernel is computed. NotEnoughData for an empty side.
    """
    if not real.count or not generated.count:
        raise NotEnoughData(
            f"JEDi of {real.count} real and {generated.count} generated samples; it takes at least "
            "one on each side"
        )
    difference = _second_moments(real) - _second_moments(generated)
    return float(_SCALE * np.square(difference / len(difference)).sum())


def _second_moments(moments: Moments) -> np.ndarray:
    """Compute X^T X / n, float64 [d, d]."""
    return moments.covariance(ddof=0) + np.outer(moments.mean, moments.mean)
