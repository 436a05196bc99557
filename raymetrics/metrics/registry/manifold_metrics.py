"""The metrics of manifolds: precision and recall in several senses, and realism."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, ManifoldSurvey
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.prd import require_equal_counts
from raymetrics.metrics.required_statistics import (
    AllRows,
    FeatureMoments,
    SampleIds,
)
from raymetrics.metrics.survey_needs import BOTH_SIDES, BallKind, Reach, SurveyNeeds

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


def clipped_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention, *, k: int
) -> list[MetricValue]:
    """Compute clipped density and clipped coverage."""
    clipped, whole = (survey.by_kind[kind] for kind in clipped_kinds(k))
    assert clipped.real_in_real is not None
    density = metrics.clipped_density(
        generated_hits=clipped.generated_in_real.hits,
        real_hits=clipped.real_in_real.hits,
        k=k,
    )
    coverage = metrics.clipped_coverage(
        occupancy=whole.generated_in_real.occupancy[:, 0], generated=len(samples.generated), k=k
    )
    fields = neighbor_fields(convention, survey, k)
    density_fields = {**fields, "ball": "closed (<=), up to the median radius"}
    coverage_fields = {**fields, "ball": "open (<)"}
    return [
        MetricValue("clipped_density", "clipped density", density, "higher", density_fields),
        MetricValue("clipped_coverage", "clipped coverage", coverage, "higher", coverage_fields),
    ]


def clipped_kinds(k: int) -> tuple[BallKind, BallKind]:
    """Return the balls of clipped density, and those of clipped coverage."""
    return (
        BallKind(k, "closed", clipped=True, sides=("real",)),
        BallKind(k, "open", sides=("real",)),
    )


def clipped_survey(samples: SampleIds, convention: Convention, *, k: int) -> SurveyNeeds:
    """Name both kinds of balls, and count the real samples in those of the density."""
    kinds = clipped_kinds(k)
    return SurveyNeeds(count=True, kinds=frozenset(kinds), among_real=frozenset(kinds[:1]))


def neighbor_fields(convention: Convention, survey: ManifoldSurvey, k: int) -> dict[str, Any]:
    """Return what a result says of neighbors whose number is a setting of the metric."""
    fields = {"neighbors": k, **ball_fields(convention, survey, k)}
    return {name: value for name, value in fields.items() if name not in ("k", "ball")}


def symmetric_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute symmetric precision and recall for every k."""
    values = []
    pairs = metrics.symmetric_precisions_recalls(survey)
    for k, (precision, recall) in zip(survey.ks, pairs, strict=True):
        fields = ball_fields(convention, survey, k)
        values += [
            MetricValue(name, short_name, value, "higher", fields, bounds=_SHARES)
            for name, short_name, value in (
                ("symmetric_precision", "symPrecision", precision),
                ("symmetric_recall", "symRecall", recall),
            )
        ]
    return values


def probabilistic_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention, *, k: int, scale: float
) -> list[MetricValue]:
    """Compute probabilistic precision and recall."""
    generated_misses, real_misses = survey.misses[Reach(k, scale)]
    precision, recall = metrics.probabilistic_precision_recall(
        generated_misses=generated_misses, real_misses=real_misses
    )
    fields = {**neighbor_fields(convention, survey, k), "scale": scale}
    return [
        MetricValue("probabilistic_precision", "P-precision", precision, "higher", fields),
        MetricValue("probabilistic_recall", "P-recall", recall, "higher", fields),
    ]


def cover_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention, *, k: int, factor: int
) -> list[MetricValue]:
    """Compute precision cover and recall cover."""
    found = survey.by_kind[BallKind(factor * k)]
    precision, recall = metrics.precision_recall_cover(
        generated_occupancy=found.real_in_generated.occupancy,
        real_occupancy=found.generated_in_real.occupancy,
        k=k,
    )
    fields = {**neighbor_fields(convention, survey, factor * k), "held": k}
    return [
        MetricValue("precision_cover", "precision cover", precision, "higher", fields),
        MetricValue("recall_cover", "recall cover", recall, "higher", fields),
    ]


def curve_values(
    survey: ManifoldSurvey, samples: SampleIds, convention: Convention, *, k: int, itself: str
) -> list[MetricValue]:
    """Compute F_8 and F_1/8 of the curve, which is in the details."""
    quotients = {}
    neighbors = curve_neighbors(samples, k)
    for side in ("real", "generated"):
        own, other = metrics.neighbors_by_side(
            survey.distances[side][:, :neighbors],
            survey.distances_across[side][:, :neighbors],
            counts_itself=itself == "counted",
        )
        real, generated = (own, other) if side == "real" else (other, own)
        with np.errstate(divide="ignore"):
            quotients[side] = generated / real
    curve = metrics.curve_of_quotients(quotients["real"], quotients["generated"])
    scores = metrics.prd_scores(curve)
    fields = {**neighbor_fields(convention, survey, neighbors), "self": itself}
    details = {"precision": curve.precision.tolist(), "recall": curve.recall.tolist()}
    return [
        MetricValue("pr_curve_f_8", "PR curve F_8", scores.f_8, "higher", fields, None, details),
        MetricValue("pr_curve_f_1_8", "PR curve F_1/8", scores.f_1_8, "higher", fields),
    ]


def curve_neighbors(samples: SampleIds, k: int) -> int:
    """Return how many neighbors in the union decide: k, or for 0 the default."""
    return k or metrics.default_neighbors(len(samples.real), len(samples.generated))


def curve_survey(samples: SampleIds, convention: Convention, *, k: int, itself: str) -> SurveyNeeds:
    """Name the distances to so many neighbors on either side."""
    neighbors = curve_neighbors(samples, k)
    nearest = frozenset((side, neighbors) for side in BOTH_SIDES)
    return SurveyNeeds(nearest=nearest, nearest_across=neighbors)


def geometry_values(
    survey: ManifoldSurvey,
    samples: SampleIds,
    convention: Convention,
    *,
    real: Any,
    generated: Any,
    k: int,
) -> list[MetricValue]:
    """Compute density and effective rank of the real side; the details hold the generated side's.

    Where a sample has k copies the density is infinite, which JSON cannot hold, and is left out.
    """
    density, generated_density = (
        metrics.log_density(survey.distances[side][:, k - 1]) for side in BOTH_SIDES
    )
    rank, generated_rank = (metrics.effective_rank(side["moments"]) for side in (real, generated))
    values = []
    if np.isfinite(density):
        fields = neighbor_fields(convention, survey, k)
        details = {"generated": generated_density} if np.isfinite(generated_density) else {}
        values.append(
            MetricValue("log_density", "-log r of real", density, "higher", fields, None, details)
        )
    details = {"generated": generated_rank}
    fields = {"of": "singular values of centered features"}
    name = "effective rank of real"
    values.append(MetricValue("effective_rank", name, rank, "higher", fields, None, details))
    return values


def geometry_survey(samples: SampleIds, convention: Convention, *, k: int) -> SurveyNeeds:
    """Name the distances to the k-th neighbor on both sides."""
    return SurveyNeeds(nearest=frozenset((side, k) for side in BOTH_SIDES))


def require_neighbor_settings(*, k: int, **others: Any) -> None:
    """Raise RaymetricsError unless k, and a factor or a scale of it, are above 0."""
    for name, value in {"k": k, **others}.items():
        if not isinstance(value, str) and not 0 < value < np.inf:
            raise RaymetricsError(f"{name} is {value}, expected a number above 0")


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
        survey=lambda samples, convention: SurveyNeeds.of_convention(),
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
        survey=lambda samples, convention: SurveyNeeds.of_convention(count=True),
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
        survey=lambda samples, convention: SurveyNeeds.of_convention(realism=True),
        choices=_BALLS,
        min_samples=_more_than_k,
    ),
    Metric(
        "clipped",
        "clipped density and clipped coverage; exact",
        survey_values=clipped_values,
        survey=clipped_survey,
        choices=("distances",),
        settings={"k": 5},
        require_settings=require_neighbor_settings,
        min_samples=lambda convention, k: k + 1,
    ),
    Metric(
        "symmetric-pr",
        "symmetric precision and recall; exact",
        survey_values=symmetric_values,
        survey=lambda samples, convention: SurveyNeeds.of_convention(count=True),
        choices=_BALLS,
        min_samples=_more_than_k,
        interval="groups",
    ),
    Metric(
        "probabilistic-pr",
        "probabilistic precision and recall",
        survey_values=probabilistic_values,
        survey=lambda samples, convention, k, scale: SurveyNeeds(
            reaches=frozenset({Reach(k, scale)})
        ),
        choices=("distances",),
        settings={"k": 4, "scale": 1.2},
        require_settings=require_neighbor_settings,
        min_samples=lambda convention, k, scale: k + 1,
    ),
    Metric(
        "pr-cover",
        "precision and recall cover; exact",
        survey_values=cover_values,
        survey=lambda samples, convention, k, factor: SurveyNeeds(
            count=True, kinds=frozenset({BallKind(factor * k)})
        ),
        choices=("distances",),
        settings={"k": 3, "factor": 3},
        require_settings=require_neighbor_settings,
        min_samples=lambda convention, k, factor: factor * k + 1,
    ),
    Metric(
        "pr-curve",
        "F_8 and F_1/8 of the curve by nearest-neighbor classifiers",
        survey_values=curve_values,
        survey=curve_survey,
        choices=("distances",),
        settings={"k": 0, "itself": ("left-out", "counted")},
        require_settings=lambda k, itself: require_neighbor_settings(k=k or 1),
        min_samples=lambda convention, k, itself: max(k, 1) + 1,
    ),
    Metric(
        "geometry",
        "density and effective rank of the real side",
        survey_values=geometry_values,
        survey=geometry_survey,
        needs=needs_of_both_sides("moments", FeatureMoments()),
        choices=("distances",),
        settings={"k": 80},
        require_settings=require_neighbor_settings,
        min_samples=lambda convention, k: k + 1,
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
