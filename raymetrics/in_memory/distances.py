"""The distances of two arrays of features."""

from __future__ import annotations

import numpy as np

from raymetrics import metrics
from raymetrics.in_memory.arrays import as_features
from raymetrics.metrics import (
    KernelDistance,
)
from raymetrics.metrics import get_convention as named
from raymetrics.statistics import Moments
from raymetrics.statistics.validation import require_comparable_features


def frechet_distance(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    ddof: int | None = None,
    convention: str = "raymetrics",
) -> float:
    """Compute the Frechet distance between two sets of features: FID, if they are Inception's.

    real, generated: real [n, d], [m, d]; computed in float64. ddof: covariances are divided by
    count - ddof; by default the convention's. The distance is at least 0; a negative rounding error
    is returned as 0. See `raymetrics.metrics.frechet_distance`.
    ShardError for features of different dimensions, and for features that are not finite.
    """
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    settings = named(convention, ddof=ddof)
    return metrics.frechet_distance(
        real=Moments.from_samples(real),
        generated=Moments.from_samples(generated),
        ddof=settings.ddof,
    )


def kernel_distance(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int | None = None,
    subset_size: int | None = None,
    seed: int | None = None,
    estimator: str | None = None,
    convention: str = "raymetrics",
) -> KernelDistance:
    """Compute the kernel distance between two sets of features: KID, if they are Inception's.

    real, generated: real [n, d], [m, d]. Returns (mean, std) over the subsets, by default 100 of
    1000 samples; a convention names the program whose draws are repeated. estimator: "unbiased",
    the default, or "biased". See
    `raymetrics.metrics.kernel_distance`.
    """
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    settings = named(
        convention,
        kid_subsets=subsets,
        kid_subset_size=subset_size,
        kid_estimator=estimator,
        seed=seed,
    )
    return metrics.kernel_distance(
        real=real,
        generated=generated,
        subsets=settings.kid_subsets,
        subset_size=settings.kid_subset_size,
        seed=settings.seed,
        order=settings.kid_order,
        generator=settings.kid_generator,
        estimator=settings.kid_estimator,
    )


def fdr(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    validation: np.ndarray,
    ddof: int | None = None,
    convention: str = "raymetrics",
) -> float:
    """Compute FDr (Yang et al. 2026): the Frechet distance as a ratio to a validation set's.

    real, generated, validation: real [n, d], [m, d], [v, d]; validation holds real samples that
    `real` does not. FDr6 is the mean of six spaces. ShardError as `frechet_distance`; NotEnoughData
    for a validation set at distance 0.
    """
    distance, norm = (
        frechet_distance(real=real, generated=side, ddof=ddof, convention=convention)
        for side in (generated, validation)
    )
    return metrics.Norm(norm).ratio(distance)


def mifid(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    threshold: float = metrics.MIFID_THRESHOLD,
    convention: str = "raymetrics",
) -> float:
    """Compute MiFID (Bai et al. 2021): the Frechet distance divided by the memorization distance.

    real, generated: real [n, d], [m, d]; cosines are those of float32. The memorization distance is
    the mean smallest 1 - |cos| of a generated sample to the real ones, with the convention
    "torchmetrics" of a real sample to the generated ones; from the threshold on it counts as 1.
    """
    real, generated = as_features(real), as_features(generated)
    settings = named(convention)
    distance = frechet_distance(real=real, generated=generated, convention=convention)
    sides = [side.astype(np.float32, copy=False) for side in (generated, real)]
    if settings.mifid_side == "real":
        sides.reverse()
    return metrics.mifid(distance, metrics.memorization_distance(*sides), threshold)


def jedi(*, real: np.ndarray, generated: np.ndarray) -> float:
    """Compute JEDi (Luo et al. 2024) of V-JEPA features of clips: 100 MMD^2 with (x.y / d)^2.

    real, generated: real [n, d], [m, d]. The biased estimate, as in the authors' program.
    """
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    return metrics.jedi(real=Moments.from_samples(real), generated=Moments.from_samples(generated))
