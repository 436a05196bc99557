"""The metrics of manifolds: precision and recall in several senses, and realism."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, ManifoldSurvey
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.prd import require_equal_counts
from raymetrics.metrics.required_statistics import (
    AllRows,
    SampleIds,
)

_SHARES = (0.0, 1.0)  # their bounds


def ball_fields(convention: Convention, survey: ManifoldSurvey, k: int) -> dict[str, Any]:
    """Return what a result says of the balls of a manifold: k, their kind, the search engine."""
    ball_kind = {"closed": "closed (<=)", "open": "open (<)"}[convention.ball]
    fields = {"k": k, "self": "excluded", "ball": ball_kind, "engine": survey.engine}
    if convention.distances == "float64":
        return fields
    return {**fields, "distances": convention.distances, "features": convention.distances}


def precision_recall_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute precision, recall and their F-score for every k."""
    values = []
    for k, (precision, recall) in zip(survey.ks, metrics.precisions_recalls(survey), strict=True):
        fields = ball_fields(convention, survey, k)
        f_score = metrics.f_score(precision, recall)
        values += [
            MetricValue("precision", "precision", precision, "higher", fields, bounds=_SHARES),
            MetricValue("recall", "recall", recall, "higher", fields, bounds=_SHARES),
            MetricValue("f_score", "F-score", f_score, "higher", fields, bounds=_SHARES),
        ]
    return values


def density_coverage_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute density and coverage for every k."""
    values = []
    for k, (density, coverage) in zip(survey.ks, metrics.densities_coverages(survey), strict=True):
        fields = ball_fields(convention, survey, k)
        values += [
            MetricValue("density", "density", density, "higher", fields, bounds=(0.0, math.inf)),
            MetricValue("coverage", "coverage", coverage, "higher", fields, bounds=_SHARES),
        ]
    return values


def realism_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the share of realistic samples and the median of R.

    The details hold the ids of the 32 most and the 32 least realistic samples, with R, which is
    None where it is infinite.
    """
    scores = survey.generated_in_real.realism
    fields = {
        **ball_fields(convention, survey, survey.ks[0]),
        "balls": "radius <= median",
        "score": "R, not R^2",
    }
    order = metrics.rank_ids(samples.generated, scores)
    score_by_id = dict(zip(samples.generated.tolist(), scores.tolist(), strict=True))

    def id_score_pairs(ids: np.ndarray) -> list[list[Any]]:
        pairs = [(int(i), score_by_id[int(i)]) for i in ids]
        return [[i, score if np.isfinite(score) else None] for i, score in pairs]

    details = {
        "highest": id_score_pairs(order[:32]),
        "lowest": id_score_pairs(order[::-1][:32]),
        "infinite": int(np.isinf(scores).sum()),  # copies of real samples
    }
    share, median = float((scores >= 1).mean()), float(np.median(scores))
    values = [MetricValue("realistic", "share R >= 1", share, "higher", fields, None, details)]
    # Where half of the samples are copies the median is infinite, which JSON cannot hold.
    if np.isfinite(median):
        values.append(MetricValue("realism_median", "median R", median, "higher", fields))
    return values


def prd_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute F_8 and F_1/8 of Sajjadi et al. (2018), with the curve in the details."""
    curve = metrics.prd_curve(
        real=real["rows"].features, generated=generated["rows"].features, seed=convention.seed
    )
    scores = metrics.prd_scores(curve)
    fields = {"clusters": 20, "runs": 10, "angles": 1001, "seed": convention.seed}
    details = {"precision": curve.precision.tolist(), "recall": curve.recall.tolist()}
    return [
        MetricValue("prd_f_8", "PRD F_8", scores.f_8, "higher", fields, None, details),
        MetricValue("prd_f_1_8", "PRD F_1/8", scores.f_1_8, "higher", fields),
    ]


def _more_than_k(convention: Convention) -> int:
    """Return the samples of which each has k neighbors beside the sample."""
    return convention.ks[-1] + 1


_BALLS = ("k", "ball", "distances")  # choices of a convention


ROWS = (
    Metric(
        "pr",
        "improved precision and recall, and their F-score; exact",
        survey_values=precision_recall_values,
        survey=frozenset(),
        choices=_BALLS,
        min_samples=_more_than_k,
        interval="groups",
        is_default=True,
        in_sweeps=True,
        in_sweeps_by_label=True,
    ),
    Metric(
        "dc",
        "density and coverage; exact",
        survey_values=density_coverage_values,
        survey=frozenset({"count"}),
        choices=_BALLS,
        min_samples=_more_than_k,
        interval="groups",
        in_sweeps=True,
        in_sweeps_by_label=True,
    ),
    Metric(
        "realism",
        "share of realistic samples, the most and the least realistic ones",
        survey_values=realism_values,
        survey=frozenset({"realism"}),
        choices=_BALLS,
        min_samples=_more_than_k,
    ),
    Metric(
        "prd",
        "F_8 and F_1/8 of Sajjadi et al.",
        compute=prd_values,
        needs=needs_of_both_sides("rows", AllRows()),
        choices=("seed",),
        min_samples=lambda convention: 20,  # as many as it has clusters
        require_counts=lambda real, generated: require_equal_counts(real, generated, 20),
        in_sweeps=True,  # not by label: a class may have fewer samples than there are clusters
    ),
)
