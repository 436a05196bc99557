"""The metrics for someone with two arrays of features and no cluster."""

from __future__ import annotations

import numpy as np

from raymetrics import metrics
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics import KernelDistance, PrecisionRecall
from raymetrics.search import FlatSearch
from raymetrics.statistics import Moments


def frechet_distance(*, real: np.ndarray, generated: np.ndarray, ddof: int = 1) -> float:
    """The Frechet distance between two sets of features: FID, if they are Inception's.

    real, generated: real [n, d], [m, d]; computed in float64. See
    `raymetrics.metrics.frechet_distance`. ShardError for features that do not fit together or
    are not finite.
    """
    check(real=real, generated=generated)
    return metrics.frechet_distance(
        real=Moments.of(real), generated=Moments.of(generated), ddof=ddof
    )


def kernel_distance(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """The kernel distance between two sets of features: KID, if they are Inception's.

    real, generated: real [n, d], [m, d]. Gives (mean, std) over the subsets; see
    `raymetrics.metrics.kernel_distance`.
    """
    check(real=real, generated=generated)
    return metrics.kernel_distance(
        real=real, generated=generated, subsets=subsets, subset_size=subset_size, seed=seed
    )


def precision_recall(*, real: np.ndarray, generated: np.ndarray, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al. 2019) of two sets of features.

    real, generated: real [n, d], [m, d]. Gives (precision, recall); exact, by FAISS. See
    `raymetrics.metrics.precision_recall`.
    """
    check(real=real, generated=generated)
    if k < 1:
        raise NotEnoughData(f"k is {k}, expected at least 1")
    return metrics.precision_recall(real=real, generated=generated, k=k, search=FlatSearch())


def check(*, real: np.ndarray, generated: np.ndarray) -> None:
    """ShardError unless both are finite [n, d] of the same d."""
    for side, features in (("real", real), ("generated", generated)):
        if features.ndim != 2:
            raise ShardError(
                f"{side} features have shape {list(features.shape)}, expected [samples, dimension]"
            )
        if not np.isfinite(features).all():
            raise ShardError(f"{side} features hold NaN or infinite values; remove those samples")
    if real.shape[1] != generated.shape[1]:
        raise ShardError(
            f"real features have {real.shape[1]} dimensions, generated ones "
            f"{generated.shape[1]}; they must come from the same column of the same extractor"
        )
