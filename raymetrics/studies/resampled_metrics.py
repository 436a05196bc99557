"""Metrics of sets that are drawn from one shard set: at random, by class, or by weights.

Each way of drawing is repeated with several seeds. Its result is the mean over the seeds with the
standard deviation (Kynkaanniemi et al. 2023, Tables 1 to 3), and never the best seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from raymetrics.attacks.matched_features import MatchTarget
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Convention
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.registry import METRICS, find_metrics
from raymetrics.metrics.required_statistics import SampleIds, SelectedRows, StatisticFunction
from raymetrics.results import Result
from raymetrics.shards.view import View, find_rows
from raymetrics.statistics import ColumnStatistic
from raymetrics.studies.comparison import (
    MetricTask,
    comparable_columns,
    metric_applies,
    open_as_view,
)
from raymetrics.studies.make_result import make_result, side_from_view

_BYTES_PER_PASS = 1_000_000_000  # bytes of statistics that one pass over the shards gathers
_OFFERED_METRICS = [name for name, metric in METRICS.items() if metric.resamplings_allowed]
SAMPLES_SHOWN = 60  # samples whose ids a result keeps, for a grid of images


@dataclass(frozen=True, eq=False)
class Resampling:
    """A way of drawing from the candidates, and the samples of every seed."""

    name: str  # "Top-1 matched"
    ids: Sequence[np.ndarray]  # int64 [n] for each seed, ascending; repeated where drawn again
    convention_fields: Mapping[str, Any] = field(
        default_factory=dict
    )  # for the convention of a result
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SubsetStatistic:
    """A statistic of the samples of one draw; a sample counts as often as it was drawn."""

    ids: np.ndarray  # int64 [n], ascending
    block_statistic: StatisticFunction

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Any:
        first, stop = (np.searchsorted(self.ids, sample_ids, side) for side in ("left", "right"))
        rows = np.repeat(np.arange(len(sample_ids)), stop - first)
        return self.block_statistic(sample_ids[rows], values[rows])


def evaluate_resamplings(
    *,
    real: str | View,
    generated: str | View,
    resamplings: Sequence[Resampling],
    metrics: Sequence[str] = ("fid", "kid", "top1"),
    extractors: Sequence[str] | None = None,
    convention: Convention | None = None,
) -> list[Result]:
    """Compute the metrics of every way of drawing, in every feature space that both sets have.

    real, generated: complete shard sets, or views of some samples; the draws are of samples of the
    generated set.
    metrics: of "fid", "kid" and "top1".
    A result is labelled by the space and the name of the draws. Its value is the mean over the
    seeds, its spread the standard deviation (None for one seed), and its details hold the value of
    each seed. KID draws different subsets for every seed. Reads the shards once for as many
    seeds as memory allows, on Ray. Raises what `evaluate` does.
    """
    resolved_convention = convention or Convention()
    views = {
        "real": real if isinstance(real, View) else open_as_view(real),
        "generated": generated if isinstance(generated, View) else open_as_view(generated),
    }
    real_shards = views["real"].shards
    # The match or the reweighting has compared the image sizes already.
    spaces = comparable_columns(
        real_shards, views["generated"].shards, extractors, None, any_size=True
    )
    tasks = [
        MetricTask(metric, column)
        for column in spaces
        for metric in find_metrics(metrics)
        if metric_applies(metric, column, real_shards.spec, explicit=False)
    ]
    _require_computable(views, resamplings, tasks, resolved_convention)
    with session():
        seed_values = list(_compute_seed_values(views, tasks, resamplings, resolved_convention))
    return [
        _mean_result(
            [
                seed_value
                for seed_value in seed_values
                if seed_value.task_and_resampling == (task, resampling)
            ],
            views,
            resolved_convention,
        )
        for task in tasks
        for resampling in resamplings
    ]


@dataclass(frozen=True, eq=False)
class _ResampledSet:
    """One draw, and the convention by which its metrics are computed."""

    resampling: Resampling
    samples: SampleIds
    convention: Convention  # with a seed of its own

    def required_statistics(self, task: MetricTask, side: str) -> Mapping[str, StatisticFunction]:
        """Return the statistics that a task needs of a side, by name."""
        assert task.metric.needs is not None  # metrics of surveys are not offered
        return task.metric.needs(self.samples, side, self.convention)

    def bytes_needed(self, tasks: Sequence[MetricTask]) -> int:
        """Estimate the bytes of the statistics of the generated side."""
        return sum(
            statistic.estimated_bytes(task.column.dimension, len(self.samples.generated))
            for task in tasks
            for statistic in self.required_statistics(task, "generated").values()
        )


@dataclass(frozen=True, eq=False)
class _SeedValue:
    """One value of one draw."""

    task_and_resampling: tuple[MetricTask, Resampling]
    value: MetricValue
    seconds: float


_StatisticsByColumn = dict[str, dict[str, Any]]  # {column: {name of a statistic: statistic}}


def _compute_seed_values(
    views: Mapping[str, View],
    tasks: Sequence[MetricTask],
    resamplings: Sequence[Resampling],
    convention: Convention,
) -> Iterator[_SeedValue]:
    """Compute the value of every task, way of drawing and seed."""
    ids = views["real"].sample_ids
    resampled_sets = [
        _ResampledSet(
            resampling, SampleIds(ids, seed_ids), replace(convention, seed=convention.seed + seed)
        )
        for resampling in resamplings
        for seed, seed_ids in enumerate(resampling.ids)
    ]
    real_statistics = _fold_real_statistics(views["real"], tasks, resampled_sets)
    sets_per_pass = max(1, _BYTES_PER_PASS // resampled_sets[0].bytes_needed(tasks))
    for start in range(0, len(resampled_sets), sets_per_pass):
        batch = resampled_sets[start : start + sets_per_pass]
        for resampled_set, set_statistics in zip(
            batch, _fold_set_statistics(views["generated"], tasks, batch), strict=True
        ):
            for task in tasks:
                value_start, column = time.monotonic(), task.column.name
                sides = real_statistics[column], set_statistics[column]
                assert task.metric.compute is not None  # as for its needs
                (value,) = task.metric.compute(
                    *sides, resampled_set.samples, resampled_set.convention
                )
                yield _SeedValue(
                    (task, resampled_set.resampling), value, time.monotonic() - value_start
                )


def _fold_real_statistics(
    view: View, tasks: Sequence[MetricTask], resampled_sets: Sequence[_ResampledSet]
) -> _StatisticsByColumn:
    """Fold the statistics of the real side that the tasks need, for all draws."""
    measures = {
        (task.column.name, name): _shared_statistic(
            [
                resampled_set.required_statistics(task, "real")[name]
                for resampled_set in resampled_sets
            ]
        )
        for task in tasks
        for name in resampled_sets[0].required_statistics(task, "real")
    }
    statistics: _StatisticsByColumn = {}
    for (column, name), statistic in _fold_by_key(view, measures).items():
        statistics.setdefault(column, {})[name] = statistic
    return statistics


def _shared_statistic(block_statistics: Sequence[StatisticFunction]) -> StatisticFunction:
    """Return one statistic that serves all draws.

    Selected rows are the union over all draws; other statistics do not depend on the draw.
    """
    selected_ids = [
        block_statistic.ids
        for block_statistic in block_statistics
        if isinstance(block_statistic, SelectedRows)
    ]
    return (
        SelectedRows(np.unique(np.concatenate(selected_ids)))
        if selected_ids
        else block_statistics[0]
    )


def _fold_set_statistics(
    view: View, tasks: Sequence[MetricTask], batch: Sequence[_ResampledSet]
) -> list[_StatisticsByColumn]:
    """Fold the statistics of every draw that the tasks need, in one pass."""
    measures = {
        (index, task.column.name, name): SubsetStatistic(
            resampled_set.samples.generated, block_statistic
        )
        for index, resampled_set in enumerate(batch)
        for task in tasks
        for name, block_statistic in resampled_set.required_statistics(task, "generated").items()
    }
    statistics: list[_StatisticsByColumn] = [
        {task.column.name: {} for task in tasks} for _ in batch
    ]
    total_bytes = sum(resampled_set.bytes_needed(tasks) for resampled_set in batch)
    for (index, column, name), statistic in _fold_by_key(view, measures, total_bytes).items():
        statistics[index][column][name] = statistic
    return statistics


def _fold_by_key(
    view: View,
    block_statistics: Mapping[Any, StatisticFunction | SubsetStatistic],
    total_bytes: int = 0,
) -> dict[Any, Any]:
    """Fold statistics by key; the last part but one of a key is the column."""
    keys = {str(i): key for i, key in enumerate(block_statistics)}
    measures = {i: ColumnStatistic(key[-2], block_statistics[key]) for i, key in keys.items()}
    return {keys[i]: statistic for i, statistic in fold_shards(view, measures, total_bytes).items()}


def _require_computable(
    views: Mapping[str, View],
    resamplings: Sequence[Resampling],
    tasks: Sequence[MetricTask],
    convention: Convention,
) -> None:
    """Raise an error for draws that cannot be evaluated.

    RaymetricsError for metrics that are not offered, ShardError for samples that are no candidates,
    NotEnoughData for too few samples.
    """
    names = {task.metric.name for task in tasks}
    if not tasks or names - set(_OFFERED_METRICS):
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
    minimum = max(task.metric.min_samples(convention) for task in tasks)
    for side, count in {"real": len(views["real"]), "generated": sizes.pop()}.items():
        if count < minimum:
            raise NotEnoughData(
                f"{count} {side} samples are too few for {' and '.join(sorted(names))}, which take "
                f"{minimum}; ask for more, or leave kid out"
            )


def _mean_result(
    seed_values: Sequence[_SeedValue], views: Mapping[str, View], convention: Convention
) -> Result:
    """Make a result of the mean over the seeds."""
    task, resampling = seed_values[0].task_and_resampling
    values = [seed_value.value.value for seed_value in seed_values]
    first = seed_values[0].value
    several = len(values) > 1
    value = replace(
        first,
        value=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if several else None,
        convention={**first.convention, **_convention_fields(resampling)},
        details={
            **first.details,
            **resampling.details,
            "values": values,
            "shown": _evenly_spaced_ids(resampling.ids[0]),
        },
    )
    sides = {
        "real": side_from_view(views["real"], len(views["real"])),
        "generated": side_from_view(views["generated"], len(resampling.ids[0])),
    }
    specs = [view.shards.spec for view in views.values()]
    mean_result = make_result(
        value,
        task,
        specs,
        sides,
        convention,
        None,
        sum(seed_value.seconds for seed_value in seed_values),
    )
    return replace(
        mean_result,
        label=f"{mean_result.label}, {resampling.name}",
        subset=_subset(resampling, len(views["generated"])),
    )


def _subset(resampling: Resampling, candidate_count: int) -> dict[str, Any]:
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
        "seeds": len(resampling.ids),
        **resampling.convention_fields,
    }


def _evenly_spaced_ids(ids: np.ndarray) -> list[int]:
    """Return at most SAMPLES_SHOWN different ids, evenly spaced."""
    unique_ids = np.unique(ids)
    rows = np.linspace(0, len(unique_ids) - 1, min(SAMPLES_SHOWN, len(unique_ids))).astype(int)
    return [int(i) for i in unique_ids[rows]]
