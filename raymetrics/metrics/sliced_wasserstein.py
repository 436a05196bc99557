"""The sliced Wasserstein distance of order 2 (Rabin et al. 2011), and its approximation."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.mind import project_sides
from raymetrics.metrics.random_projections import mean_squared_transport
from raymetrics.statistics import Moments


def sliced_wasserstein(
    *, real: np.ndarray, generated: np.ndarray, projections: int = 1000, seed: int = 2020
) -> float:
    """Compute the sliced Wasserstein distance of order 2 of two sets of features.

    real, generated: real [n, d], [m, d]. Of unequal counts the larger side is cut to a random part
    of it, the one of MIND. NotEnoughData for an empty side, or fewer than 16 projections.
    """
    return sliced_wasserstein_of_projections(
        *project_sides(real=real, generated=generated, projections=projections, seed=seed)
    )


def sliced_wasserstein_of_projections(real: np.ndarray, generated: np.ndarray) -> float:
    """Compute the root of the mean squared transport (Bonneel et al. 2015).

    real, generated: projections of as many samples, float32 [n, projections].
    """
    return mean_squared_transport(real, generated) ** 0.5


def approximate_sliced_wasserstein(*, real: Moments, generated: Moments) -> float:
    """Approximate the distance by the means and the variances (Nadjahi et al. 2021).

    Takes the projections to be Gaussians, as those of many dimensions nearly are, and needs no
    random directions. It is `sw_approx` of dgm-eval. NotEnoughData for an empty side.
    """
    if not real.count or not generated.count:
        raise NotEnoughData(
            f"the sliced Wasserstein distance of {real.count} real and {generated.count} generated "
            "samples; it takes at least one on each side"
        )
    offset = real.mean - generated.mean
    widths = [np.sqrt(np.trace(side.scatter) / side.count) for side in (real, generated)]
    squared = offset @ offset + (widths[0] - widths[1]) ** 2
    return float(np.sqrt(squared / len(offset)))
