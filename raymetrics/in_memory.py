"""Metrics and attacks for two arrays of features, numpy's or torch's, without a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.attacks import match_top1 as match_top1
from raymetrics.attacks import reweight as reweight
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics import (
    Convention,
    KernelDistance,
    ManifoldScores,
    ManifoldSurvey,
    PrecisionRecall,
    manifold_scores,
)
from raymetrics.metrics import get_convention as named
from raymetrics.neighbors import survey_arrays
from raymetrics.statistics import Moments
from raymetrics.statistics.validation import require_comparable_features


def frechet_distance(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    ddof: int | None = None,
    convention: str = "raymetrics",
) -> float:
    """Compute the Frechet distance of two sets of features: FID, if they are Inception's.

    real, generated: real [n, d], [m, d]; computed in float64. ddof: covariances are divided by
    count - ddof; by default the convention's. A negative rounding error is given as
    0. See `raymetrics.metrics.frechet_distance`.
    Raises ShardError for features that do not fit together or are not finite.
    """
    real, generated = _features(real), _features(generated)
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
    convention: str = "raymetrics",
) -> KernelDistance:
    """Compute the kernel distance of two sets of features: KID, if they are Inception's.

    real, generated: real [n, d], [m, d]. Gives (mean, std) over the subsets, by default 100 of
    1000 samples; a convention names the program whose draws are repeated. See
    `raymetrics.metrics.kernel_distance`.
    """
    real, generated = _features(real), _features(generated)
    require_comparable_features(real=real, generated=generated)
    settings = named(convention, kid_subsets=subsets, kid_subset_size=subset_size, seed=seed)
    return metrics.kernel_distance(
        real=real,
        generated=generated,
        subsets=settings.kid_subsets,
        subset_size=settings.kid_subset_size,
        seed=settings.seed,
        order=settings.kid_order,
        generator=settings.kid_generator,
    )


def precision_recall(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    k: int | None = None,
    convention: str = "raymetrics",
) -> PrecisionRecall:
    """Compute improved precision and recall (Kynkaanniemi et al. 2019) of two sets of features.

    real, generated: real [n, d], [m, d]. k: by default the convention's, 3. Gives (precision,
    recall); exact. See `raymetrics.metrics.precision_recall`.
    """
    settings = named(convention, k=k)
    if len(settings.ks) > 1:
        raise NotEnoughData(f"precision_recall takes one k, not {settings.ks}; see prdc")
    survey = survey_features(real, generated, settings, count=False)
    return PrecisionRecall(*metrics.precisions_recalls(survey)[0])


def prdc(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    k: int | Sequence[int] | None = None,
    convention: str = "raymetrics",
) -> dict[int, ManifoldScores]:
    """Compute precision, recall, their F-score, density and coverage, for every k, in one pass.

    real, generated: real [n, d], [m, d]. Naeem et al. (2020); exact. With convention="prdc" the
    balls are open, as in the program of that name.
    """
    survey = survey_features(real, generated, named(convention, k=k))
    return dict(zip(survey.ks, manifold_scores(survey), strict=True))


def realism(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    k: int | None = None,
    convention: str = "raymetrics",
) -> np.ndarray:
    """Compute the realism R of every generated sample, float64 [m].

    real, generated: real [n, d], [m, d]. R is the largest radius / distance over the real balls
    whose radius is at most the median (Kynkaanniemi et al. 2019, Eq. 3). R is at least 1 for a
    sample within such a ball, and infinite for a copy of a real sample.
    """
    settings = named(convention, k=k)
    return survey_features(
        real, generated, settings, count=False, scores=True
    ).generated_in_real.realism


def survey_features(
    real: np.ndarray,
    generated: np.ndarray,
    convention: Convention,
    *,
    count: bool = True,
    scores: bool = False,
) -> ManifoldSurvey:
    """Survey two sets of features as a convention says, by the engine that should be fastest."""
    real, generated = _features(real), _features(generated)
    require_comparable_features(real=real, generated=generated)
    return survey_arrays(
        real=real, generated=generated, convention=convention, count=count, realism=scores
    )


def _features(values: Any) -> np.ndarray:
    """Convert features to numpy, also from a tensor that is not on the CPU or has a gradient.

    Raise ShardError for anything that holds no real numbers.
    """
    array = values.detach().cpu() if hasattr(values, "detach") else values
    if "bfloat16" in str(getattr(array, "dtype", "")):  # which numpy lacks
        array = array.float()
    try:
        array = np.asarray(array)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "fiu":
        raise ShardError(
            f"features are {type(values).__name__} {str(values)[:40]!r}, expected an array or a "
            "tensor of numbers [samples, dimension]; those of shards are read by "
            "raymetrics.open_shards(PLACE).read(COLUMN)"
        )
    return array
