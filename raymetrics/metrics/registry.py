"""The metrics by name: what each needs, and the values that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raymetrics import metrics
from raymetrics.metrics import Convention, Survey, required_statistics
from raymetrics.metrics.required_statistics import Samples
from raymetrics.output_names import CLASS_LOGITS, LOGITS
from raymetrics.statistics import ClassScores, Histogram, Moments, NestedMoments, Rows


@dataclass(frozen=True)
class Value:
    """What a metric gives: one number, before its provenance is added."""

    metric: str
    short: str  # "FD"; the feature space is added to it
    value: float
    better: str
    convention: Mapping[str, Any]
    spread: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


Needs = Callable[[Samples, str, Convention], Mapping[str, required_statistics.Of]]
Compute = Callable[[Mapping[str, Any], Mapping[str, Any], Samples, Convention], list[Value]]


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
    of_logits: tuple[str, ...] = ()
    only: str | None = None  # columns whose extractor or output is so called


def each(name: str, of: required_statistics.Of) -> Needs:
    """The same statistic of both sides."""
    return lambda samples, side, asked: {name: of}


def every_row(
    samples: Samples, side: str, asked: Convention
) -> Mapping[str, required_statistics.Of]:
    """All features of a side."""
    return {"rows": Rows.of}


def frechet(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The Frechet distance."""
    of_real: Moments = real["moments"]
    value = metrics.frechet_distance(real=of_real, generated=generated["moments"], ddof=asked.ddof)
    return [Value("frechet_distance", "FD", value, "lower", {"ddof": asked.ddof})]


def kernel(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The kernel distance over the drawn rows."""
    sides: list[Rows] = [real["drawn"], generated["drawn"]]

    def of(rows: np.ndarray, side: int) -> np.ndarray:
        ids = (samples.real, samples.generated)[side][rows]
        return sides[side].features[np.searchsorted(sides[side].sample_ids, ids)]

    found = metrics.kernel_distance_of(
        (of(x, 0), of(y, 1)) for x, y in required_statistics.kid_draws(samples, asked)
    )
    kept = {
        "subsets": asked.kid_subsets,
        "subset_size": asked.kid_subset_size,
        "seed": asked.seed,
        "draws": f"{asked.kid_order}, {asked.kid_generator}",
        "kernel": "(x.y/d + 1)^3",
        "estimate": "unbiased",
    }
    return [Value("kernel_distance", "KD", found.mean, "lower", kept, spread=found.std)]


def kid_needs(
    samples: Samples, side: str, asked: Convention
) -> Mapping[str, required_statistics.Of]:
    """The rows that KID draws."""
    return {"drawn": required_statistics.drawn(samples, side, asked)}


def ball(asked: Convention, found: Survey, k: int) -> dict[str, Any]:
    """The convention of balls, for a result."""
    closed = {"closed": "closed (<=)", "open": "open (<)"}[asked.ball]
    kept = {"k": k, "self": "excluded", "ball": closed, "engine": found.engine}
    if asked.distances == "float64":
        return kept
    return {**kept, "distances": asked.distances, "features": asked.distances}


def precision_recall(found: Survey, asked: Convention) -> list[Value]:
    """Precision, recall and their F-score, for every k."""
    values = []
    for k, (precision, recall) in zip(found.ks, metrics.precisions_recalls(found), strict=True):
        kept = ball(asked, found, k)
        both = metrics.f_score(precision, recall)
        values += [
            Value("precision", "precision", precision, "higher", kept),
            Value("recall", "recall", recall, "higher", kept),
            Value("f_score", "F-score", both, "higher", kept),
        ]
    return values


def density_coverage(found: Survey, asked: Convention) -> list[Value]:
    """Density and coverage, for every k."""
    values = []
    for k, (density, coverage) in zip(found.ks, metrics.densities_coverages(found), strict=True):
        kept = ball(asked, found, k)
        values += [
            Value("density", "density", density, "higher", kept),
            Value("coverage", "coverage", coverage, "higher", kept),
        ]
    return values


def realism(found: Survey, asked: Convention, sample_ids: np.ndarray) -> list[Value]:
    """The share of samples that are realistic, with those that are most and least so."""
    scores = found.of_generated.realism
    kept = {**ball(asked, found, found.ks[0]), "balls": "radius <= median", "score": "R, not R^2"}
    order = metrics.ranked(sample_ids, scores)
    value_of = dict(zip(sample_ids.tolist(), scores.tolist(), strict=True))

    def listed(ids: np.ndarray) -> list[list[Any]]:
        return [[int(i), value_of[int(i)] if np.isfinite(value_of[int(i)]) else None] for i in ids]

    details = {
        "highest": listed(order[:32]),
        "lowest": listed(order[::-1][:32]),
        "infinite": int(np.isinf(scores).sum()),  # copies of real samples
    }
    share, median = float((scores >= 1).mean()), float(np.median(scores))
    values = [Value("realistic", "share R >= 1", share, "higher", kept, None, details)]
    # Of a set whose half are copies there is none that could be kept.
    if np.isfinite(median):
        values.append(Value("realism_median", "median R", median, "higher", kept))
    return values


def prd(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """Sajjadi et al.'s F_8 and F_1/8, with the curve."""
    curve = metrics.prd_curve(
        real=real["rows"].features, generated=generated["rows"].features, seed=asked.seed
    )
    scores = metrics.prd_scores(curve)
    kept = {"clusters": 20, "runs": 10, "angles": 1001, "seed": asked.seed}
    details = {"precision": curve.precision.tolist(), "recall": curve.recall.tolist()}
    return [
        Value("prd_f_8", "PRD F_8", scores.f_8, "higher", kept, None, details),
        Value("prd_f_1_8", "PRD F_1/8", scores.f_1_8, "higher", kept),
    ]


def inception(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The Inception Score of the generated side; the real one's is in the details."""
    scores: list[ClassScores] = [side["class scores"] for side in (generated, real)]
    found, of_real = (metrics.inception_score(side) for side in scores)
    kept = {"splits": asked.is_splits, "shuffled": asked.is_shuffle}
    details = {"real": {"mean": of_real.mean, "std": of_real.std}}
    name = "inception_score"
    return [Value(name, "Inception Score", found.mean, "higher", kept, found.std, details)]


def inception_needs(
    samples: Samples, side: str, asked: Convention
) -> Mapping[str, required_statistics.Of]:
    """Class scores by split."""
    return {"class scores": required_statistics.class_scores(samples, side, asked)}


def infinity(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The distance extrapolated to infinitely many generated samples."""
    subsets: NestedMoments = generated["nested"]
    found = metrics.frechet_infinity(
        real=real["moments"], generated=subsets.moments(), ddof=asked.ddof
    )
    kept = {"ddof": asked.ddof, "points": len(found.counts), "seed": asked.seed, "draws": "nested"}
    details = {"counts": found.counts.tolist(), "distances": found.distances.tolist()}
    return [Value("frechet_infinity", "FD-infinity", found.value, "lower", kept, None, details)]


def infinity_needs(
    samples: Samples, side: str, asked: Convention
) -> Mapping[str, required_statistics.Of]:
    """Of the real side all, of the generated one nested subsets."""
    if side == "real":
        return {"moments": required_statistics.moments}
    sizes = required_statistics.sizes_of(len(samples.generated))
    return {"nested": required_statistics.nested(samples.generated, sizes, asked.seed)}


def counts(samples: Samples) -> list[int]:
    """Sample counts at which the distance is shown: those of the paper that both sides have, if
    they are two at least; else a tenth, a fifth and a half of the smaller side."""
    there = min(len(samples.real), len(samples.generated))
    usual = [n for n in (5_000, 10_000, 50_000) if n <= there]
    return usual if len(usual) > 1 else [there // 10, there // 5, there // 2]


SEEDS = 10


def by_count(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The distance at several sample counts, over draws of both sides."""
    draws = [f"nested {seed}" for seed in range(SEEDS)]
    found = metrics.frechet_by_count(
        real=[real[name].moments() for name in draws],
        generated=[generated[name].moments() for name in draws],
        ddof=asked.ddof,
    )
    kept = {
        "ddof": asked.ddof,
        "draws": f"{SEEDS} of both sides, without replacement",
        "seed": asked.seed,
    }
    rows = zip(found.counts.tolist(), found.mean.tolist(), found.std.tolist(), strict=True)
    return [
        Value(
            "frechet_by_count", f"FD at {n}", mean, "lower", {**kept, "samples": n}, std
        )
        for n, mean, std in rows
    ]  # fmt: skip


def by_count_needs(
    samples: Samples, side: str, asked: Convention
) -> Mapping[str, required_statistics.Of]:
    """Nested subsets in as many orders as there are seeds; other ones on either side."""
    first = 2 * asked.seed * SEEDS + (SEEDS if side == "generated" else 0)
    sizes = counts(samples)
    return {
        f"nested {seed}": required_statistics.nested(samples.of(side), sizes, first + seed)
        for seed in range(SEEDS)
    }


def maximum_mean(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """CMMD."""
    value = metrics.cmmd(real=real["rows"].features, generated=generated["rows"].features)
    return [
        Value("cmmd", "CMMD", value, "lower", {"sigma": 10, "scale": 1000, "estimate": "biased"})
    ]


def vendi(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The Vendi score of the generated side; the real one's is in the details."""
    found, of_real = (metrics.vendi_score(side["normalised moments"]) for side in (generated, real))
    kept = {"kernel": "cosine", "order": 1}
    return [Value("vendi_score", "Vendi", found, "higher", kept, None, {"real": of_real})]


def top1(real: Any, generated: Any, samples: Samples, asked: Convention) -> list[Value]:
    """The total variation between Top-1 histograms, with both histograms."""
    histograms: dict[str, Histogram] = {
        "real": real["histogram"],
        "generated": generated["histogram"],
    }
    value = metrics.total_variation(**histograms)
    details = {side: histogram.counts.tolist() for side, histogram in histograms.items()}
    kept = {"distance": "total variation", "ties": "first class"}
    return [Value("top1_distance", "Top-1 distance", value, "lower", kept, None, details)]


def no_formula(*_: Any) -> list[Value]:
    """Of a metric that is made from a survey."""
    raise AssertionError("made from a survey")


METRICS = {
    metric.name: metric
    for metric in (
        Metric("fid", frechet, each("moments", required_statistics.moments)),
        Metric("kid", kernel, kid_needs),
        Metric("pr", no_formula, survey=frozenset()),
        Metric("top1", top1, each("histogram", required_statistics.histogram), of_logits=(LOGITS,)),
        Metric("dc", no_formula, survey=frozenset({"count"})),
        Metric("realism", no_formula, survey=frozenset({"realism"})),
        Metric("prd", prd, every_row),
        Metric("is", inception, inception_needs, of_logits=CLASS_LOGITS),
        Metric("fid-infinity", infinity, infinity_needs),
        Metric("fid-counts", by_count, by_count_needs),
        Metric("vendi", vendi, each("normalised moments", required_statistics.normalised_moments)),
        Metric("cmmd", maximum_mean, every_row, only="clip"),
        Metric("sfid", frechet, each("moments", required_statistics.moments), only="spatial"),
    )
}
DEFAULT = ("fid", "kid", "pr", "top1")
