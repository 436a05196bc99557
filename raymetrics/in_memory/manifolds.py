"""The metrics of the manifolds of two arrays of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from raymetrics import metrics
from raymetrics.errors import NotEnoughData
from raymetrics.in_memory.arrays import as_features
from raymetrics.metrics import (
    Convention,
    ManifoldScores,
    ManifoldSurvey,
    PrecisionRecall,
    manifold_scores,
)
from raymetrics.metrics import get_convention as named
from raymetrics.neighbors import survey_arrays
from raymetrics.statistics.validation import require_comparable_features


def precision_recall(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    k: int | None = None,
    convention: str = "raymetrics",
) -> PrecisionRecall:
    """Compute improved precision and recall (Kynkaanniemi et al. 2019) of two sets of features.

    real, generated: real [n, d], [m, d]. k: by default the convention's, 3. Returns (precision,
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
    """Score the realism R of each generated sample, float64 [m].

    R is the largest radius / distance among the real balls up to the median radius (Kynkaanniemi
    et al. 2019, Eq. 3): at least 1 for a sample inside of a ball, infinite for a copy of a real
    sample.
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
    """Survey the manifolds by a convention, with the engine that should be the fastest."""
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    return survey_arrays(
        real=real, generated=generated, convention=convention, count=count, realism=scores
    )
