"""Metrics of sets that are drawn from one shard set: at random, by class, or by weights.

Each way of drawing is repeated with several seeds. Its result is the mean over the seeds with the
standard deviation over them, divided by their number less 1 (Kynkaanniemi et al. 2023, Tables 1
to 3), and never the best seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raymetrics.attacks.matched_features import MatchTarget
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.registry import METRICS, find_metrics
from raymetrics.metrics.required_statistics import SampleIds
from raymetrics.results import Result
from raymetrics.shards.view import View, find_rows
from raymetrics.studies.comparison import (
    MetricTask,
    comparable_columns,
    metric_applies,
    open_as_view,
)
from raymetrics.studies.compute_metrics import (
    MetricComputation,
    PlannedTask,
    plan_tasks,
    require_memory,
)
from raymetrics.studies.make_result import make_result, sides_of_subset
from raymetrics.studies.seeds import format_seeds
from raymetrics.studies.subsets import Subset

_OFFERED_METRICS = [name for name, metric in METRICS.items() if metric.resamplings_allowed]
SAMPLES_SHOWN = 144  # samples whose ids a result keeps, for a grid of images as in the paper


@dataclass(frozen=True, eq=False)
class Resampling:
    """A way of drawing from the candidates, and the samples of every seed."""

    name: str  # "Top-1 matched"
    ids: Sequence[np.ndarray]  # int64 [n] for each seed, ascending; repeated where drawn again
    convention_fields: Mapping[str, Any] = field(
        default_factory=dict
    )  # for the convention of a result
    details: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = ()  # of each draw; by default 0, 1, and so on
    warnings: tuple[str, ...] = ()  # for all results

    def seed_of_draw(self, index: int) -> int:
        """Return the seed of a draw."""
        return self.seeds[index] if self.seeds else index


def draw_convention(*, real: int, n: int) -> Convention:
    """Return the convention for draws of n samples against so many real samples.

    KID is over 100 subsets for every draw, and of fewer than 1000 samples the subsets are as large
    as the smaller side, as in Kynkaanniemi et al.'s program. Where every subset is all samples of
    both sides, one is enough.
    """
    defaults = Convention()
    size = max(2, min(real, n, defaults.kid_subset_size))
    subsets = 1 if size == real == n else defaults.kid_subsets
    return replace(defaults, kid_subsets=subsets, kid_subset_size=size)


def evaluate_resamplings(
    *,
    real: str | View,
    generated: str | View,
    resamplings: Sequence[Resampling],
    metrics: Sequence[str] = ("fid", "kid", "mind", "top1"),
    extractors: Sequence[str] | None = None,
    convention: Convention | None = None,
) -> list[Result]:
    """Compute the metrics of every way of drawing, in every feature space that both sets have.

    real, generated: complete shard sets, or views of some samples; the draws are of samples of the
    generated set.
    metrics: of "fid", "kid", "mind" and "top1".
    A result is labelled by the space and the name of the draws. Its value is the mean over the
    seeds, its spread the standard deviation (None for one seed), and its details hold the value of
    each seed, and a random part of the first draw. KID draws other subsets for every seed.
    Reads the shards once for as many seeds as memory allows, on Ray. Raises what `evaluate` does.
    """
    resolved_convention = convention or Convention()
    views = {
        "real": open_as_view(real),
        "generated": open_as_view(generated),
    }
    real_shards = views["real"].shards
    # The match or the reweighting has compared the image sizes already.
    spaces = comparable_columns(
        real_shards, views["generated"].shards, extractors, None, any_size=True
    )
    measures = [
        (metric, column)
        for column in spaces
        for metric in find_metrics(metrics)
        if metric_applies(metric, column, real_shards.spec, explicit=False)
    ]
    _require_computable(views, resamplings, [metric for metric, _ in measures], resolved_convention)
    subsets = _subsets_by_resampling(views, resamplings)
    tasks = [
        MetricTask(metric, column, subset)
        for subset in itertools.chain(*subsets.values())
        for metric, column in measures
    ]
    computation = MetricComputation(views, plan_tasks(tasks, resolved_convention))
    with session():
        require_memory(views, computation.planned)
        seed_values = {
            (planned.metric.name, planned.column.name, planned.subset): (planned, value, seconds)
            for planned, value, seconds in computation.values()
        }
    return [
        _mean_result(
            resampling,
            [seed_values[metric.name, column.name, subset] for subset in subsets[resampling]],
            views,
            resolved_convention,
        )
        for metric, column in measures
        for resampling in resamplings
    ]


def _subsets_by_resampling(
    views: Mapping[str, View], resamplings: Sequence[Resampling]
) -> dict[Resampling, list[Subset]]:
    """Return a subset of the generated side for every way of drawing and seed."""
    real_ids, candidate_count = views["real"].sample_ids, len(views["generated"])
    return {
        resampling: [
            Subset(
                SampleIds(real_ids, ids),
                restricted_sides=frozenset({"generated"}),
                title=resampling.name,
                fields=_subset_fields(resampling, candidate_count),
                convention_fields=_convention_fields(resampling),
                seed=resampling.seed_of_draw(index),
            )
            for index, ids in enumerate(resampling.ids)
        ]
        for resampling in resamplings
    }


def _require_computable(
    views: Mapping[str, View],
    resamplings: Sequence[Resampling],
    metrics: Sequence[Metric],
    convention: Convention,
) -> None:
    """Raise an error for draws that cannot be evaluated.

    RaymetricsError for metrics that are not offered, ShardError for samples that are no candidates,
    NotEnoughData for too few samples.
    """
    names = {metric.name for metric in metrics}
    if not metrics or names - set(_OFFERED_METRICS):
        raise RaymetricsError(
            f"of draws there are {', '.join(_OFFERED_METRICS)}, not {', '.join(names)}"
        )
    if views["generated"].repeats:
        raise RaymetricsError("candidates that stand there repeatedly; expected each once")
    for resampling in resamplings:
        for ids in resampling.ids:
            find_rows(ids, views["generated"].sample_ids, views["generated"].shards)
    sizes = {len(ids) for resampling in resamplings for ids in resampling.ids}
    if len(sizes) != 1:
        raise NotEnoughData(f"draws of {sorted(sizes)} samples; expected as many in each")
    minimum = max(metric.min_samples(convention) for metric in metrics)
    for side, count in {"real": len(views["real"]), "generated": sizes.pop()}.items():
        if count < minimum:
            raise NotEnoughData(
                f"{count} {side} samples are too few for {' and '.join(sorted(names))}, which take "
                f"{minimum}; ask for more, or leave kid out"
            )


def _mean_result(
    resampling: Resampling,
    seed_values: Sequence[tuple[PlannedTask, MetricValue, float]],
    views: Mapping[str, View],
    convention: Convention,
) -> Result:
    """Make a result of the mean over the seeds."""
    planned, first, _ = seed_values[0]
    values = [value.value for _, value, _ in seed_values]
    mean_value = replace(
        first,
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        details={
            **first.details,
            **resampling.details,
            "values": values,
            "shown": choose_shown_ids(resampling.ids[0]),
        },
    )
    return make_result(
        mean_value,
        planned.task,
        [view.shards.spec for view in views.values()],
        sides_of_subset(views, planned.subset),
        convention,
        None,
        sum(seconds for _, _, seconds in seed_values),
        resampling.warnings,
    )


def _subset_fields(resampling: Resampling, candidate_count: int) -> dict[str, Any]:
    """Return the subset that a result names: the way of drawing, counts, and what was matched."""
    subset = {
        "scheme": resampling.name,
        "n": len(resampling.ids[0]),
        "seeds": len(resampling.ids),
        "candidates": candidate_count,
    }
    fields = resampling.convention_fields
    subset |= {name: fields[name] for name in ("candidates", "matched_by") if name in fields}
    if "match" in fields:
        target = MatchTarget.parse(fields["match"])
        subset |= {"match": target.kind, **({"classes": target.n} if target.n else {})}
    return subset


def _convention_fields(resampling: Resampling) -> dict[str, Any]:
    """Return what the convention of a result says about its draws."""
    return {
        "drawn": resampling.name,
        "n": len(resampling.ids[0]),
        "seeds": format_seeds([resampling.seed_of_draw(i) for i in range(len(resampling.ids))]),
        **resampling.convention_fields,
    }


def choose_shown_ids(ids: np.ndarray) -> list[int]:
    """Return at most SAMPLES_SHOWN of the ids at random, ascending: repeated as the draw does."""
    shown = np.random.default_rng(0).choice(ids, min(SAMPLES_SHOWN, len(ids)), replace=False)
    return [int(i) for i in np.sort(shown)]
