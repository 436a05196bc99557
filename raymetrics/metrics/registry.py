"""The metrics by name: what each needs, and the values that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, ManifoldSurvey, required_statistics
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.output_names import CLASS_LOGITS, LOGITS
from raymetrics.statistics import ClassScores, FeatureRows, Histogram, Moments, NestedMoments


@dataclass(frozen=True)
class MetricValue:
    """What a metric gives: one number, before its provenance is added."""

    metric: str
    short_name: str  # "FD"; the feature space is added to it
    value: float
    better: str
    convention: Mapping[str, Any]
    spread: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


Needs = Callable[[SampleIds, str, Convention], Mapping[str, required_statistics.StatisticFunction]]
Compute = Callable[[Mapping[str, Any], Mapping[str, Any], SampleIds, Convention], list[MetricValue]]


@dataclass(frozen=True)
class Metric:
    """A metric: in which columns it makes sense, what it needs of either side, its formula.

    needs: statistics by name; those of one name are computed once for all metrics. Or `survey`:
    a survey of both sides' manifolds, with counts and realism if they are named.
    of_logits: the outputs that it takes, if it is one of logits; of features otherwise.
    """

    name: str
    compute: Compute
    needs: Needs | None = None
    survey: frozenset[str] | None = None
    logits_outputs: tuple[str, ...] = ()
    requires_space: str | None = None  # columns whose extractor or output is so called


def _same_for_both_sides(name: str, statistic: required_statistics.StatisticFunction) -> Needs:
    """The same statistic of both sides."""
    return lambda samples, side, convention: {name: statistic}


def _all_rows(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, required_statistics.StatisticFunction]:
    """All features of a side."""
    return {"rows": FeatureRows.from_samples}


def _frechet_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The Frechet distance."""
    real_moments: Moments = real["moments"]
    value = metrics.frechet_distance(
        real=real_moments, generated=generated["moments"], ddof=convention.ddof
    )
    return [MetricValue("frechet_distance", "FD", value, "lower", {"ddof": convention.ddof})]


def _kernel_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The kernel distance over the drawn rows."""
    sides: list[FeatureRows] = [real["drawn"], generated["drawn"]]

    def select_features(rows: np.ndarray, side: int) -> np.ndarray:
        ids = (samples.real, samples.generated)[side][rows]
        return sides[side].features[np.searchsorted(sides[side].sample_ids, ids)]

    distance = metrics.kernel_distance_over_subsets(
        (select_features(x, 0), select_features(y, 1))
        for x, y in required_statistics.kid_subsets(samples, convention)
    )
    fields = {
        "subsets": convention.kid_subsets,
        "subset_size": convention.kid_subset_size,
        "seed": convention.seed,
        "draws": f"{convention.kid_order}, {convention.kid_generator}",
        "kernel": "(x.y/d + 1)^3",
        "estimate": "unbiased",
    }
    return [
        MetricValue("kernel_distance", "KD", distance.mean, "lower", fields, spread=distance.std)
    ]


def _kid_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, required_statistics.StatisticFunction]:
    """The rows that KID draws."""
    return {"drawn": required_statistics.kid_rows(samples, side, convention)}


def ball_fields(convention: Convention, survey: ManifoldSurvey, k: int) -> dict[str, Any]:
    """The convention of balls, for a result."""
    ball_kind = {"closed": "closed (<=)", "open": "open (<)"}[convention.ball]
    fields = {"k": k, "self": "excluded", "ball": ball_kind, "engine": survey.engine}
    if convention.distances == "float64":
        return fields
    return {**fields, "distances": convention.distances, "features": convention.distances}


def precision_recall_values(survey: ManifoldSurvey, convention: Convention) -> list[MetricValue]:
    """Precision, recall and their F-score, for every k."""
    values = []
    for k, (precision, recall) in zip(survey.ks, metrics.precisions_recalls(survey), strict=True):
        fields = ball_fields(convention, survey, k)
        f_score = metrics.f_score(precision, recall)
        values += [
            MetricValue("precision", "precision", precision, "higher", fields),
            MetricValue("recall", "recall", recall, "higher", fields),
            MetricValue("f_score", "F-score", f_score, "higher", fields),
        ]
    return values


def density_coverage_values(survey: ManifoldSurvey, convention: Convention) -> list[MetricValue]:
    """Density and coverage, for every k."""
    values = []
    for k, (density, coverage) in zip(survey.ks, metrics.densities_coverages(survey), strict=True):
        fields = ball_fields(convention, survey, k)
        values += [
            MetricValue("density", "density", density, "higher", fields),
            MetricValue("coverage", "coverage", coverage, "higher", fields),
        ]
    return values


def realism_values(
    survey: ManifoldSurvey, convention: Convention, sample_ids: np.ndarray
) -> list[MetricValue]:
    """The share of samples that are realistic, with those that are most and least so."""
    scores = survey.generated_in_real.realism
    fields = {
        **ball_fields(convention, survey, survey.ks[0]),
        "balls": "radius <= median",
        "score": "R, not R^2",
    }
    order = metrics.rank_ids(sample_ids, scores)
    score_by_id = dict(zip(sample_ids.tolist(), scores.tolist(), strict=True))

    def id_score_pairs(ids: np.ndarray) -> list[list[Any]]:
        return [
            [int(i), score_by_id[int(i)] if np.isfinite(score_by_id[int(i)]) else None] for i in ids
        ]

    details = {
        "highest": id_score_pairs(order[:32]),
        "lowest": id_score_pairs(order[::-1][:32]),
        "infinite": int(np.isinf(scores).sum()),  # copies of real samples
    }
    share, median = float((scores >= 1).mean()), float(np.median(scores))
    values = [MetricValue("realistic", "share R >= 1", share, "higher", fields, None, details)]
    # Of a set whose half are copies there is none that could be kept.
    if np.isfinite(median):
        values.append(MetricValue("realism_median", "median R", median, "higher", fields))
    return values


def _prd_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Sajjadi et al.'s F_8 and F_1/8, with the curve."""
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


def _inception_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The Inception Score of the generated side; the real one's is in the details."""
    scores: list[ClassScores] = [side["class scores"] for side in (generated, real)]
    generated_score, real_score = (metrics.inception_score(side) for side in scores)
    fields = {"splits": convention.is_splits, "shuffled": convention.is_shuffle}
    details = {"real": {"mean": real_score.mean, "std": real_score.std}}
    name = "inception_score"
    return [
        MetricValue(
            name,
            "Inception Score",
            generated_score.mean,
            "higher",
            fields,
            generated_score.std,
            details,
        )
    ]


def _inception_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, required_statistics.StatisticFunction]:
    """Class scores by split."""
    return {"class scores": required_statistics.split_class_scores(samples, side, convention)}


def _frechet_infinity_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The distance extrapolated to infinitely many generated samples."""
    subsets: NestedMoments = generated["nested"]
    extrapolation = metrics.frechet_infinity(
        real=real["moments"], generated=subsets.moments(), ddof=convention.ddof
    )
    fields = {
        "ddof": convention.ddof,
        "points": len(extrapolation.counts),
        "seed": convention.seed,
        "draws": "nested",
    }
    details = {
        "counts": extrapolation.counts.tolist(),
        "distances": extrapolation.distances.tolist(),
    }
    return [
        MetricValue(
            "frechet_infinity", "FD-infinity", extrapolation.value, "lower", fields, None, details
        )
    ]


def _frechet_infinity_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, required_statistics.StatisticFunction]:
    """Of the real side all, of the generated one nested subsets."""
    if side == "real":
        return {"moments": required_statistics.feature_moments}
    sizes = required_statistics.infinity_subset_sizes(len(samples.generated))
    return {"nested": required_statistics.nested_subsets(samples.generated, sizes, convention.seed)}


def _default_sample_counts(samples: SampleIds) -> list[int]:
    """Sample counts at which the distance is shown: those of the paper that both sides have, if
    they are two at least; else a tenth, a fifth and a half of the smaller side."""
    smaller_side = min(len(samples.real), len(samples.generated))
    paper_counts = [n for n in (5_000, 10_000, 50_000) if n <= smaller_side]
    return (
        paper_counts
        if len(paper_counts) > 1
        else [smaller_side // 10, smaller_side // 5, smaller_side // 2]
    )


_FID_COUNT_SEEDS = 10


def _frechet_by_count_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The distance at several sample counts, over draws of both sides."""
    names = [f"nested {seed}" for seed in range(_FID_COUNT_SEEDS)]
    curve = metrics.frechet_by_count(
        real=[real[name].moments() for name in names],
        generated=[generated[name].moments() for name in names],
        ddof=convention.ddof,
    )
    fields = {
        "ddof": convention.ddof,
        "draws": f"{_FID_COUNT_SEEDS} of both sides, without replacement",
        "seed": convention.seed,
    }
    rows = zip(curve.counts.tolist(), curve.mean.tolist(), curve.std.tolist(), strict=True)
    return [
        MetricValue(
            "frechet_by_count", f"FD at {n}", mean, "lower", {**fields, "samples": n}, std
        )
        for n, mean, std in rows
    ]  # fmt: skip


def _frechet_by_count_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, required_statistics.StatisticFunction]:
    """Nested subsets in as many orders as there are seeds; other ones on either side."""
    first_seed = 2 * convention.seed * _FID_COUNT_SEEDS + (
        _FID_COUNT_SEEDS if side == "generated" else 0
    )
    sizes = _default_sample_counts(samples)
    return {
        f"nested {seed}": required_statistics.nested_subsets(
            samples.for_side(side), sizes, first_seed + seed
        )
        for seed in range(_FID_COUNT_SEEDS)
    }


def _cmmd_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """CMMD."""
    value = metrics.cmmd(real=real["rows"].features, generated=generated["rows"].features)
    return [
        MetricValue(
            "cmmd", "CMMD", value, "lower", {"sigma": 10, "scale": 1000, "estimate": "biased"}
        )
    ]


def _vendi_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The Vendi score of the generated side; the real one's is in the details."""
    generated_score, real_score = (
        metrics.vendi_score(side["normalised moments"]) for side in (generated, real)
    )
    fields = {"kernel": "cosine", "order": 1}
    return [
        MetricValue(
            "vendi_score", "Vendi", generated_score, "higher", fields, None, {"real": real_score}
        )
    ]


def _top1_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """The total variation between Top-1 histograms, with both histograms."""
    histograms: dict[str, Histogram] = {
        "real": real["histogram"],
        "generated": generated["histogram"],
    }
    value = metrics.total_variation(**histograms)
    details = {side: histogram.counts.tolist() for side, histogram in histograms.items()}
    fields = {"distance": "total variation", "ties": "first class"}
    return [MetricValue("top1_distance", "Top-1 distance", value, "lower", fields, None, details)]


def _survey_only(*_: Any) -> list[MetricValue]:
    """Of a metric that is made from a survey."""
    raise AssertionError("made from a survey")


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "fid",
            _frechet_values,
            _same_for_both_sides("moments", required_statistics.feature_moments),
        ),
        Metric("kid", _kernel_values, _kid_needs),
        Metric("pr", _survey_only, survey=frozenset()),
        Metric(
            "top1",
            _top1_values,
            _same_for_both_sides("histogram", required_statistics.top1_histogram),
            logits_outputs=(LOGITS,),
        ),
        Metric("dc", _survey_only, survey=frozenset({"count"})),
        Metric("realism", _survey_only, survey=frozenset({"realism"})),
        Metric("prd", _prd_values, _all_rows),
        Metric("is", _inception_values, _inception_needs, logits_outputs=CLASS_LOGITS),
        Metric("fid-infinity", _frechet_infinity_values, _frechet_infinity_needs),
        Metric("fid-counts", _frechet_by_count_values, _frechet_by_count_needs),
        Metric(
            "vendi",
            _vendi_values,
            _same_for_both_sides("normalised moments", required_statistics.normalized_moments),
        ),
        Metric("cmmd", _cmmd_values, _all_rows, requires_space="clip"),
        Metric(
            "sfid",
            _frechet_values,
            _same_for_both_sides("moments", required_statistics.feature_moments),
            requires_space="spatial",
        ),
    )
}
DEFAULT_METRICS = ("fid", "kid", "pr", "top1")
