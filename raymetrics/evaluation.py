"""Two shard sets to numbers: which statistics the metrics need, one pass, then the formulas."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

from raymetrics import metrics, ranges
from raymetrics.errors import (
    NotEnoughData,
    PlanTooLarge,
    RaymetricsError,
    ShardError,
    SpecMismatch,
)
from raymetrics.provenance import environment
from raymetrics.results import Result, Side
from raymetrics.search import FlatSearch
from raymetrics.shards.layout import differences
from raymetrics.shards.reader import ShardSet, open_shards
from raymetrics.shards.schema import Column
from raymetrics.statistics import Histogram, Measure, Moments, Rows
from raymetrics.streaming.fold import fold_shards
from raymetrics.streaming.session import session

LOGITS = "logits"


@dataclass(frozen=True)
class Convention:
    """What a number depends on besides the features. The defaults are the field's."""

    k: int = 3
    ddof: int = 1
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("kid_subsets", 1), ("kid_subset_size", 2)):
            if getattr(self, name) < least:
                raise NotEnoughData(f"{name} is {getattr(self, name)}, expected at least {least}")


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


@dataclass(frozen=True)
class Metric:
    """Which statistic of which kind of column a metric needs, and what it makes of two."""

    name: str
    of_logits: bool
    statistic: str
    compute: Callable[[Any, Any, Convention], list[Value]]
    least: Callable[[Convention], int]  # samples on either side


def moments(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Of a block."""
    return Moments.of(values)


def histogram(sample_ids: np.ndarray, values: np.ndarray) -> Histogram:
    """Of a block of logits."""
    return Histogram.of(values)


STATISTICS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "moments": moments,
    "histogram": histogram,
    "rows": Rows.of,
}


def frechet(real: Moments, generated: Moments, convention: Convention) -> list[Value]:
    """The Frechet distance as a metric."""
    value = metrics.frechet_distance(real=real, generated=generated, ddof=convention.ddof)
    return [Value("frechet_distance", "FD", value, "lower", {"ddof": convention.ddof})]


def kernel(real: Rows, generated: Rows, convention: Convention) -> list[Value]:
    """The kernel distance as a metric."""
    asked = {
        "subsets": convention.kid_subsets,
        "subset_size": convention.kid_subset_size,
        "seed": convention.seed,
    }
    mean, std = metrics.kernel_distance(real=real.features, generated=generated.features, **asked)
    kept = {**asked, "kernel": "(x.y/d + 1)^3", "estimate": "unbiased"}
    return [Value("kernel_distance", "KD", mean, "lower", kept, spread=std)]


def precision_recall(real: Rows, generated: Rows, convention: Convention) -> list[Value]:
    """Improved precision and recall as two metrics."""
    search = FlatSearch()
    both = metrics.precision_recall(
        real=real.features, generated=generated.features, k=convention.k, search=search
    )
    kept = {"k": convention.k, "self": "excluded", "ball": "closed (<=)", "engine": search.name}
    return [
        Value("precision", "precision", both.precision, "higher", kept),
        Value("recall", "recall", both.recall, "higher", kept),
    ]


def top1(real: Histogram, generated: Histogram, convention: Convention) -> list[Value]:
    """The total variation between Top-1 histograms, with both histograms."""
    value = metrics.total_variation(real=real, generated=generated)
    counts = {"real": real.counts.tolist(), "generated": generated.counts.tolist()}
    kept = {"distance": "total variation", "ties": "first class"}
    return [Value("top1_distance", "Top-1 distance", value, "lower", kept, details=counts)]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("fid", False, "moments", frechet, lambda c: c.ddof + 1),
        Metric("kid", False, "rows", kernel, lambda c: c.kid_subset_size),
        Metric("pr", False, "rows", precision_recall, lambda c: c.k + 1),
        Metric("top1", True, "histogram", top1, lambda c: 1),
    )
}


def evaluate(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    metrics: Sequence[str] = tuple(METRICS),
    extractors: Sequence[str] | None = None,
    convention: Convention | None = None,
) -> list[Result]:
    """The metrics of two complete shard sets, in every feature space that both have.

    metrics: of METRICS, "fid", "kid", "pr" and "top1". "fid" is the Frechet distance in whatever
    space there is; it is labelled by that space.
    extractors: only these spaces.

    Reads either set once, on Ray. Raises ShardError for an incomplete set, SpecMismatch for two
    that cannot be compared, NotEnoughData, or PlanTooLarge before anything is read.
    """
    asked = convention or Convention()
    sides = {"real": opened(real), "generated": opened(generated)}
    spaces = shared_columns(sides["real"], sides["generated"], extractors)
    plan = [
        (METRICS[name], column)
        for column in spaces
        for name in known(metrics)
        if METRICS[name].of_logits == (column.output == LOGITS)
    ]
    refuse_if_too_few(plan, sides, asked)
    refuse_if_too_large(plan, sides)
    measures = {
        key(metric, column): Measure(column.name, STATISTICS[metric.statistic])
        for metric, column in plan
    }
    if any(metric.name == "pr" for metric, _ in plan):
        FlatSearch()  # says what is missing before anything is read
    with session():
        found = {side: fold_shards(shards, measures) for side, shards in sides.items()}
    results = []
    for metric, column in plan:
        start = time.monotonic()
        name = key(metric, column)
        values = metric.compute(found["real"][name], found["generated"][name], asked)
        seconds = time.monotonic() - start
        results += [result(value, column, sides, seconds) for value in values]
    return results


def key(metric: Metric, column: Column) -> str:
    """The name of the statistic that a metric needs of a column; equal names are computed once."""
    return f"{metric.statistic} {column.name}"


def known(names: Sequence[str]) -> list[str]:
    """The metrics in their order, without repetitions. RaymetricsError for one that is none."""
    for name in names:
        if name not in METRICS:
            raise RaymetricsError(f"no metric {name!r}; there are {', '.join(METRICS)}")
    if not names:
        raise RaymetricsError(f"no metrics are asked for; there are {', '.join(METRICS)}")
    return list(dict.fromkeys(names))


def opened(shards: str | ShardSet) -> ShardSet:
    """A complete shard set, freshly listed, with no sample that it is not to have."""
    found = open_shards(shards if isinstance(shards, str) else shards.uri).require_complete()
    foreign = ranges.subtract(found.present, found.spec.samples)
    if foreign:
        raise ShardError(
            f"{found.uri} holds samples {', '.join(map(ranges.describe, foreign))}, which its "
            "dataset.json does not ask for; another extraction into it was under way: run it again"
        )
    return found


def shared_columns(
    real: ShardSet, generated: ShardSet, extractors: Sequence[str] | None
) -> list[Column]:
    """The columns to compare. SpecMismatch unless they were made alike on both sides."""
    of_real = {str(spec["name"]): spec for spec in real.spec.extractors}
    of_generated = {str(spec["name"]): spec for spec in generated.spec.extractors}
    names = sorted(of_real.keys() & of_generated.keys()) if extractors is None else extractors
    for name in names:
        if name not in of_real or name not in of_generated:
            there = sorted(of_real.keys() & of_generated.keys())
            raise SpecMismatch(
                f"extractor {name!r} is not in both sets; both have {', '.join(there) or 'none'}"
            )
        if of_real[name] != of_generated[name]:
            fields = "; ".join(differences(of_real[name], of_generated[name]))
            raise SpecMismatch(
                f"{real.uri} and {generated.uri} used {name} differently, so their features "
                f"cannot be compared ({fields.replace('asked for', 'on the other side')}); "
                "extract one of them again"
            )
    if not names:
        raise SpecMismatch(
            f"{real.uri} has features of {', '.join(of_real)}, {generated.uri} of "
            f"{', '.join(of_generated)}; extract both with the same extractor"
        )
    return [column for column in real.spec.columns if column.extractor in names]


def refuse_if_too_few(
    plan: Sequence[tuple[Metric, Column]], sides: Mapping[str, ShardSet], asked: Convention
) -> None:
    """NotEnoughData if a metric takes more samples than a side has."""
    for metric in {metric.name: metric for metric, _ in plan}.values():
        least = metric.least(asked)
        for side, shards in sides.items():
            if len(shards) < least:
                raise NotEnoughData(
                    f"{metric.name} takes at least {least} samples, {shards.uri} has "
                    f"{len(shards)} {side} ones; extract more, leave it out of --metrics"
                    + (", or ask for a smaller --kid-subset-size" if metric.name == "kid" else "")
                )


def refuse_if_too_large(
    plan: Sequence[tuple[Metric, Column]], sides: Mapping[str, ShardSet]
) -> None:
    """PlanTooLarge if the features that must be held at once do not fit into memory."""
    rows = sum(len(shards) for shards in sides.values())
    held = {column.name: column.dimension for metric, column in plan if metric.statistic == "rows"}
    # The rows, and FAISS's centred copies of the widest column with its working space.
    need = 4 * rows * (sum(held.values()) + 5 * max(held.values(), default=0))
    free = psutil.virtual_memory().available
    if need > free:
        raise PlanTooLarge(
            f"kid and pr of {rows} samples need {need / 1e9:.1f} GB for {', '.join(held)}, "
            f"{free / 1e9:.1f} GB are free; evaluate one space at a time with --extractor, only "
            "fid and top1, or on a larger machine"
        )


def result(value: Value, column: Column, sides: Mapping[str, ShardSet], seconds: float) -> Result:
    """A value with its provenance."""
    real = sides["real"]
    spec = next(s for s in real.spec.extractors if s["name"] == column.extractor)
    names = real.spec.class_names.get(column.extractor, ())
    details = {**value.details, "class_names": list(names)} if value.details else {}
    return Result(
        metric=value.metric,
        label=f"{value.short} {column.extractor}",
        value=value.value,
        spread=value.spread,
        better=value.better,
        space={**spec, "output": column.output, "dimension": column.dimension},
        convention={**value.convention, "features": "float32", "arithmetic": "float64"},
        real=side(real),
        generated=side(sides["generated"]),
        provenance=environment(),
        seconds=seconds,
        details=details,
    )


def side(shards: ShardSet) -> Side:
    """What a result keeps of a set."""
    return Side(
        uri=shards.store.absolute_uri,
        source=shards.spec.source,
        samples=tuple(ranges.describe(ids) for ids in ranges.union(shards.present)),
        count=len(shards),
        fingerprint=shards.spec.fingerprint,
        digest=shards.digest,
        made_by={name: (shards.seal or {}).get(name) for name in ("devices", "sealed_by")},
    )
