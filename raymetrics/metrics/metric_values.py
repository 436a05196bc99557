"""The numbers of every metric: its formula over the statistics of both sides, and which it needs.

A formula takes the statistics of the real and of the generated side by name, the sample ids and
the convention, or a survey of both manifolds in place of the statistics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, ManifoldSurvey, required_statistics
from raymetrics.metrics.metric import MetricValue, Needs
from raymetrics.metrics.required_statistics import (
    FeatureMoments,
    HalfMoments,
    SampleIds,
    StatisticFunction,
)
from raymetrics.statistics import ClassScores, FeatureRows, Histogram, Moments, NestedMoments


def needs_of_both_sides(name: str, statistic: StatisticFunction) -> Needs:
    """Return the needs of a metric that takes the same statistic of both sides."""
    return lambda samples, side, convention: {name: statistic}


def frechet_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance."""
    real_moments: Moments = real["moments"]
    value = metrics.frechet_distance(
        real=real_moments, generated=generated["moments"], ddof=convention.ddof
    )
    details = {}
    if _HALVES[0] in real:
        first, second = (real[name] for name in _HALVES)
        halves = metrics.frechet_distance(real=first, generated=second, ddof=convention.ddof)
        details["real_halves"] = halves
    fields = {"ddof": convention.ddof}
    return [MetricValue("frechet_distance", "FD", value, "lower", fields, None, details)]


# Below so many real samples, the distance of two halves of them is computed too: it is all bias.
_FEW_REAL_SAMPLES = 10_000
_HALVES = ("one half", "the other half")


def frechet_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the moments; of few real samples those of two halves too."""
    ids = samples.for_side(side)
    needs: dict[str, StatisticFunction] = {"moments": FeatureMoments()}
    enough = len(ids) >= 2 * (convention.ddof + 1)
    if side == "real" and enough and len(ids) < _FEW_REAL_SAMPLES and (np.diff(ids) > 0).all():
        needs |= {name: HalfMoments(ids, convention.seed, i) for i, name in enumerate(_HALVES)}
    return needs


def probability_distance_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance of class probabilities (Kynkaanniemi et al. 2023, Fig. 1)."""
    value = metrics.frechet_distance(
        real=real["probability moments"],
        generated=generated["probability moments"],
        ddof=convention.ddof,
    )
    fields = {"ddof": convention.ddof, "probabilities": "softmax of the logits"}
    return [MetricValue("probability_distance", "FD of probabilities", value, "lower", fields)]


def kernel_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the kernel distance over the rows that its subsets draw."""
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


def kid_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the rows that KID draws."""
    return {"drawn": required_statistics.kid_rows(samples, side, convention)}


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
            MetricValue("precision", "precision", precision, "higher", fields),
            MetricValue("recall", "recall", recall, "higher", fields),
            MetricValue("f_score", "F-score", f_score, "higher", fields),
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
            MetricValue("density", "density", density, "higher", fields),
            MetricValue("coverage", "coverage", coverage, "higher", fields),
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


def inception_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Inception Score of the generated side; the details hold the real side's."""
    scores: list[ClassScores] = [side["class scores"] for side in (generated, real)]
    generated_score, real_score = (
        metrics.inception_score(side, convention.is_ddof) for side in scores
    )
    size = convention.is_split_size
    parts = {"splits": convention.is_splits} if size is None else {"split_size": size}
    fields = {**parts, "shuffled": convention.is_shuffle}
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


def inception_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the class scores by split."""
    return {"class scores": required_statistics.split_class_scores(samples, side, convention)}


def frechet_infinity_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance, extrapolated to infinitely many generated samples."""
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


def frechet_infinity_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name the moments of all real samples and of nested subsets of the generated ones."""
    if side == "real":
        return {"moments": FeatureMoments()}
    sizes = required_statistics.infinity_subset_sizes(len(samples.generated))
    return {"nested": required_statistics.nested_subsets(samples.generated, sizes, convention.seed)}


def _default_sample_counts(samples: SampleIds) -> list[int]:
    """Choose the sample counts at which the distance is computed.

    These are the paper's counts that both sides have, if there are at least two such counts;
    otherwise a tenth, a fifth and a half of the smaller side.
    """
    smaller_side = min(len(samples.real), len(samples.generated))
    paper_counts = [n for n in (5_000, 10_000, 50_000) if n <= smaller_side]
    return (
        paper_counts
        if len(paper_counts) > 1
        else [smaller_side // 10, smaller_side // 5, smaller_side // 2]
    )


_FID_COUNT_SEEDS = 10


def frechet_by_count_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Frechet distance at several sample counts, over draws of both sides.

    The last value is of all real samples against draws of the largest count of generated ones,
    "All + 50k" in Kynkaanniemi et al. 2023, Fig. 8a.
    """
    names = [f"nested {seed}" for seed in range(_FID_COUNT_SEEDS)]
    real_draws, generated_draws = (
        [side[name].moments() for name in names] for side in (real, generated)
    )
    curve = metrics.frechet_by_count(
        real=[[*nested, real["moments"]] for nested in real_draws],
        generated=[[*nested, nested[-1]] for nested in generated_draws],
        ddof=convention.ddof,
    )
    counts, means, deviations = (values.tolist() for values in curve)
    both = [("real", len(samples.real)), ("generated", len(samples.generated))]
    rows = [
        _value_at_count(str(n), n, mean, std, both, convention)
        for n, mean, std in zip(counts[:-1], means[:-1], deviations[:-1], strict=True)
    ]
    n = counts[-1]
    return [
        *rows,
        _value_at_count(f"all + {n}", n, means[-1], deviations[-1], both[1:], convention),
    ]


def _value_at_count(
    name: str,
    n: int,
    mean: float,
    std: float,
    drawn: Sequence[tuple[str, int]],
    convention: Convention,
) -> MetricValue:
    """Return the distance at a count, without a deviation where a draw takes a whole side.

    drawn: the sides that are drawn from, with their numbers of samples.
    """
    drawn_sides = (
        "both sides" if len(drawn) == 2 else "the generated side, against all real samples"
    )
    fields = {
        "ddof": convention.ddof,
        "draws": f"{_FID_COUNT_SEEDS} of {drawn_sides}, without replacement",
        "seed": convention.seed,
        "samples": n,
    }
    whole = [side for side, count in drawn if count == n]
    if whole:
        fields["deviation"] = f"none: all draws of the {' and the '.join(whole)} side are one set"
    spread = None if whole else std
    return MetricValue("frechet_by_count", f"FD at {name}", mean, "lower", fields, spread)


def frechet_by_count_needs(
    samples: SampleIds, side: str, convention: Convention
) -> Mapping[str, StatisticFunction]:
    """Name nested subsets in one order for each seed, and the moments of all real samples.

    The two sides have different orders.
    """
    first_seed = 2 * convention.seed * _FID_COUNT_SEEDS + (
        _FID_COUNT_SEEDS if side == "generated" else 0
    )
    sizes = _default_sample_counts(samples)
    subsets = {
        f"nested {seed}": required_statistics.nested_subsets(
            samples.for_side(side), sizes, first_seed + seed
        )
        for seed in range(_FID_COUNT_SEEDS)
    }
    return {**subsets, "moments": FeatureMoments()} if side == "real" else subsets


def cmmd_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute CMMD."""
    value = metrics.cmmd(real=real["rows"].features, generated=generated["rows"].features)
    return [
        MetricValue(
            "cmmd", "CMMD", value, "lower", {"sigma": 10, "scale": 1000, "estimate": "biased"}
        )
    ]


def vendi_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the Vendi score of the generated side; the details hold the real side's."""
    generated_score, real_score = (
        metrics.vendi_score(side["normalised moments"]) for side in (generated, real)
    )
    fields = {"kernel": "cosine", "order": 1}
    return [
        MetricValue(
            "vendi_score", "Vendi", generated_score, "higher", fields, None, {"real": real_score}
        )
    ]


def top1_values(
    real: Any, generated: Any, samples: SampleIds, convention: Convention
) -> list[MetricValue]:
    """Compute the total variation between Top-1 histograms, with both in the details."""
    histograms: dict[str, Histogram] = {
        "real": real["histogram"],
        "generated": generated["histogram"],
    }
    value = metrics.total_variation(**histograms)
    details = {side: histogram.counts.tolist() for side, histogram in histograms.items()}
    fields = {"distance": "total variation", "ties": "first class"}
    return [MetricValue("top1_distance", "Top-1 distance", value, "lower", fields, None, details)]
