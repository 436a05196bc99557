"""The distances of two arrays of features along random directions."""

from __future__ import annotations

from typing import Any, Literal

from raymetrics import metrics
from raymetrics.errors import RaymetricsError
from raymetrics.in_memory.arrays import as_comparable_features
from raymetrics.statistics import Moments

_METHODS = ("projections", "moments")


def mind(*, real: Any, generated: Any, projections: int = 1000, seed: int = 2020) -> float:
    """Compute MIND (Berthet et al. 2026) of two sets of features, as torch-fidelity does.

    real, generated: real [n, d], [m, d]. Of unequal counts the larger side is cut to a random part
    of it. See `raymetrics.metrics.mind`.
    """
    x, y = as_comparable_features(real=real, generated=generated)
    return metrics.mind(real=x, generated=y, projections=projections, seed=seed)


def sliced_wasserstein(
    *,
    real: Any,
    generated: Any,
    method: Literal["projections", "moments"] = "projections",
    projections: int = 1000,
    seed: int = 2020,
) -> float:
    """Compute the sliced Wasserstein distance of order 2 of two sets of features.

    real, generated: real [n, d], [m, d]. method: "moments" takes no random directions, and is
    `sw_approx` of dgm-eval. See `raymetrics.metrics.sliced_wasserstein` and
    `raymetrics.metrics.approximate_sliced_wasserstein`.
    """
    if method not in _METHODS:
        raise RaymetricsError(f"method is {method!r}; there are {', '.join(_METHODS)}")
    x, y = as_comparable_features(real=real, generated=generated)
    if method == "moments":
        return metrics.approximate_sliced_wasserstein(
            real=Moments.from_samples(x), generated=Moments.from_samples(y)
        )
    return metrics.sliced_wasserstein(real=x, generated=y, projections=projections, seed=seed)
