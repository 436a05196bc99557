"""The metrics of the manifolds of two arrays of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from raymetrics import metrics
from raymetrics.errors import NotEnoughData
from raymetrics.in_memory.arrays import as_features
from raymetrics.metrics import (
    Convention,
    ManifoldScores,
    ManifoldSurvey,
    PRDCurve,
    PrecisionRecall,
    manifold_scores,
)
from raymetrics.metrics import get_convention as named
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.registry import METRICS
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.metrics.survey_needs import SurveyNeeds
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
    survey = survey_features(real, generated, settings, SurveyNeeds.of_convention())
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
    needs = SurveyNeeds.of_convention(count=True)
    survey = survey_features(real, generated, named(convention, k=k), needs)
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
    needs = SurveyNeeds.of_convention(realism=True)
    return survey_features(real, generated, settings, needs).generated_in_real.realism


def clipped_density(*, real: np.ndarray, generated: np.ndarray, k: int = 5) -> float:
    """Compute clipped density (Salvy et al. 2026): about the share of good generated samples.

    real, generated: real [n, d], [m, d]. At most 1; exact.
    """
    return _values("clipped", real, generated, k=k)["clipped_density"]


def clipped_coverage(*, real: np.ndarray, generated: np.ndarray, k: int = 5) -> float:
    """Compute clipped coverage (Salvy et al. 2026): the share of good samples that cover as much.

    real, generated: real [n, d], [m, d]. In 0..1; exact.
    """
    return _values("clipped", real, generated, k=k)["clipped_coverage"]


def symmetric_precision_recall(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    k: int | None = None,
    convention: str = "raymetrics",
) -> PrecisionRecall:
    """Compute symmetric precision and recall (Khayatkhoei & AbdAlmageed 2023); exact.

    real, generated: real [n, d], [m, d]. k: by default the convention's, 3; the authors' program
    has 5 and open balls, as convention="prdc" has.
    """
    settings = named(convention, k=k)
    if len(settings.ks) > 1:
        raise NotEnoughData(f"symmetric_precision_recall takes one k, not {settings.ks}")
    needs = SurveyNeeds.of_convention(count=True)
    survey = survey_features(real, generated, settings, needs)
    return metrics.symmetric_precisions_recalls(survey)[0]


def probabilistic_precision_recall(
    *, real: np.ndarray, generated: np.ndarray, k: int = 4, scale: float = 1.2
) -> PrecisionRecall:
    """Compute probabilistic precision and recall (Park & Kim 2023), in float64.

    real, generated: real [n, d], [m, d]. The reach of a side is `scale` times the mean distance to
    the k-th neighbor.
    """
    found = _values("probabilistic-pr", real, generated, k=k, scale=scale)
    return PrecisionRecall(found["probabilistic_precision"], found["probabilistic_recall"])


def precision_recall_cover(
    *, real: np.ndarray, generated: np.ndarray, k: int = 3, factor: int = 3
) -> PrecisionRecall:
    """Compute precision and recall cover (Cheema & Urner 2023); exact.

    real, generated: real [n, d], [m, d]. The balls reach to the `factor` k-th neighbor, and must
    hold k samples of the other side.
    """
    found = _values("pr-cover", real, generated, k=k, factor=factor)
    return PrecisionRecall(found["precision_cover"], found["recall_cover"])


def precision_recall_curve(
    *, real: np.ndarray, generated: np.ndarray, k: int = 0, itself: str = "left-out"
) -> PRDCurve:
    """Compute the precision-recall curve by nearest-neighbor classifiers (Sykes et al. 2024).

    real, generated: real [n, d], [m, d]. k: by default the root of the number of samples of the
    smaller side. itself: "counted" if a sample is its own neighbor, as in the authors' program.
    """
    (first, _) = _compute("pr-curve", real, generated, k=k, itself=itself)
    return PRDCurve(np.array(first.details["precision"]), np.array(first.details["recall"]))


def _values(
    name: str, real: np.ndarray, generated: np.ndarray, **chosen: object
) -> Mapping[str, float]:
    """Compute a metric of a survey; return its values by name."""
    return {value.metric: value.value for value in _compute(name, real, generated, **chosen)}


def _compute(
    name: str, real: np.ndarray, generated: np.ndarray, **chosen: object
) -> Sequence[MetricValue]:
    """Compute a metric of a survey with these settings."""
    metric = METRICS[name].with_settings({key: str(value) for key, value in chosen.items()})
    assert metric.survey_values is not None
    convention, samples = Convention(), SampleIds.of_rows(real, generated)
    needs = metric.survey_needs(samples, convention)
    survey = survey_features(real, generated, convention, needs)
    return metric.survey_values(survey, samples, convention)


def survey_features(
    real: np.ndarray,
    generated: np.ndarray,
    convention: Convention,
    needs: SurveyNeeds,
) -> ManifoldSurvey:
    """Survey the manifolds by a convention, with the engine that should be the fastest."""
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    return survey_arrays(real=real, generated=generated, convention=convention, needs=needs)
