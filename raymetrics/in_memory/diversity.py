"""The variety of two arrays of features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymetrics import metrics
from raymetrics.errors import NotEnoughData
from raymetrics.in_memory.arrays import as_features
from raymetrics.metrics.registry.diversity_metrics import require_kernel
from raymetrics.statistics import Moments
from raymetrics.statistics.validation import require_comparable_features


class DiversityScores(NamedTuple):
    """The effective number of different samples of both sides."""

    generated: float
    real: float


def vendi(*, real: np.ndarray, generated: np.ndarray, order: float = 1.0) -> DiversityScores:
    """Compute the Vendi score of both sides, with a kernel of cosines, of any order.

    real, generated: real [n, d], [m, d]. See `raymetrics.metrics.vendi_score`.
    """
    metrics.require_order(order)
    real, generated = _comparable(real, generated)
    return DiversityScores(
        *(metrics.vendi_score(_direction_moments(side), order) for side in (generated, real))
    )


def rke(*, real: np.ndarray, generated: np.ndarray, sigma: float = 0.0) -> DiversityScores:
    """Compute the RKE mode count of both sides (Jalali et al. 2023).

    real, generated: real [n, d], [m, d]. sigma: the width of a Gaussian kernel; 0: of cosines.
    """
    require_kernel(sigma=sigma)
    if not sigma:
        return vendi(real=real, generated=generated, order=2)
    real, generated = _comparable(real, generated)
    return DiversityScores(*(metrics.gaussian_mode_count(x, sigma) for x in (generated, real)))


def rrke(*, real: np.ndarray, generated: np.ndarray, sigma: float = 0.0, count: int = 500) -> float:
    """Compute the relative entropy of both sides (Jalali et al. 2023); about 0 if they are equal.

    real, generated: real [n, d], [m, d]. sigma: as in `rke`. count: the first rows that are taken
    of each side; 0 for all, with cosines. NotEnoughData for fewer rows.
    """
    require_kernel(sigma=sigma, count=count)
    real, generated = _comparable(real, generated)
    if min(len(real), len(generated)) < max(count, 1):
        raise NotEnoughData(
            f"the RRKE of {len(real)} real and {len(generated)} generated samples; it takes at "
            f"least {max(count, 1)} of each, or ask for a smaller count"
        )
    if not count:
        return metrics.relative_cosine_entropy(
            real=_direction_moments(real), generated=_direction_moments(generated)
        )
    x, y = real[:count], generated[:count]
    kernel = metrics.gaussian_kernel(x, y, sigma) if sigma else metrics.cosine_kernel(x, y)
    return metrics.relative_entropy(kernel)


def _comparable(real: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    return real, generated


def _direction_moments(features: np.ndarray) -> Moments:
    return Moments.from_samples(metrics.normalize_rows(features))
