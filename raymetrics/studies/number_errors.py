"""The sampling errors of numbers that were computed, for their intervals and for comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.memory_limits import fits_in_driver
from raymetrics.errors import InsufficientResources, NotEnoughData
from raymetrics.metrics.group_errors import Errors, errors_of_surveys
from raymetrics.metrics.influences import InfluenceRows, Influences
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.sampling_errors import GROUP_COUNT, GROUPS, MIN_SAMPLES, SamplingErrors
from raymetrics.neighbors.grouped_surveys import (
    require_neighbors_without_group,
    survey_without_groups,
)
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, FeatureRows
from raymetrics.studies.comparison import MetricTask
from raymetrics.studies.subsets import SIDES

if TYPE_CHECKING:
    from raymetrics.studies.compute_metrics import MetricComputation, PlannedTask

_Computed = tuple["PlannedTask", MetricValue, float]


def require_enough_for_intervals(
    views: Mapping[str, View], tasks: Sequence[MetricTask], ks: Sequence[int]
) -> None:
    """Raise NotEnoughData if a side has too few samples for an interval of any of the numbers.

    InsufficientResources for balls of sides that do not fit into the driver's memory.
    """
    for task in tasks:
        assert task.subset is not None
        if task.metric.interval is None:
            continue
        for side in task.sides:
            count = len(task.subset.samples.for_side(side))
            about = task.subset.title and f" of {task.subset.title}"
            require_enough_for_interval(task.metric, views[side], count, side, about, ks)
        if task.metric.survey is not None and not fits_in_driver(views, task.column.name):
            raise InsufficientResources(
                f"an interval of {task.metric.name} holds both sides of {task.column.name} in the "
                "memory of one process; leave out --intervals, take fewer --samples, or ask for "
                "intervals of other metrics"
            )


def require_enough_for_interval(
    metric: Metric,
    view: View,
    count: int,
    side: str,
    about: str = "",
    ks: Sequence[int] = (),
) -> None:
    """Raise NotEnoughData for fewer samples of a side than the interval of a metric takes.

    about: whose samples these are, for the message. ks: of the balls of a metric of a survey.
    """
    least = MIN_SAMPLES if metric.survey is None else max(MIN_SAMPLES, 2 * ks[-1])
    if count < least:
        raise NotEnoughData(
            f"an interval of {metric.name} takes at least {least} samples of each side, "
            f"{view.shards.uri} has {count} {side} ones{about}; extract more, or leave out "
            "--intervals"
        )


def add_errors(
    computation: MetricComputation, computed: Sequence[_Computed]
) -> Iterator[_Computed]:
    """Yield the numbers of a batch with their errors, in their order.

    Reads each side once more for influences, and once more for balls. Numbers without an interval
    are yielded as they are.
    """
    found = [value.influences() if value.influences else {} for _, value, _ in computed]
    rows = {
        side: _fold_influences(computation.views[side], computed, found, side) for side in SIDES
    }
    surveys: dict[Any, Any] = {}
    for i, (task, value, seconds) in enumerate(computed):
        errors: Errors = {
            side: SamplingErrors.from_influences(part.sample_ids, part.features[:, 0])
            for side in SIDES
            if (part := rows[side].get(i)) is not None
        }
        if task.metric.interval == GROUPS and task.metric.survey is not None:
            key = task.survey_key
            if key not in surveys:
                surveys[key] = _survey_without_groups(computation, task)
            errors = errors_of_surveys(
                task.metric, value, surveys[key], task.subset.samples, task.convention
            )
        yield task, replace(value, errors=errors or value.errors), seconds


def _fold_influences(
    view: View, computed: Sequence[_Computed], found: Sequence[Influences], side: str
) -> dict[int, FeatureRows]:
    """Return the influences of a side by the position of the number, in one pass over shards."""
    rows: dict[int, FeatureRows] = {}
    measures: dict[str, ColumnStatistic] = {}
    for i, (task, _, _) in enumerate(computed):
        influence = found[i].get(side)
        if isinstance(influence, FeatureRows):
            rows[i] = influence
        elif influence is not None:
            scope = task.scope(side)
            measures[str(i)] = ColumnStatistic(
                task.column.name,
                InfluenceRows(influence),
                scope.samples.for_side(side) if scope else None,
            )
    return rows | {int(i): part for i, part in fold_shards(view, measures).items()}


def _survey_without_groups(computation: MetricComputation, task: PlannedTask) -> Any:
    """Return the surveys of a column and subset without each group, by side."""
    features, samples = {}, task.subset.samples
    for side in SIDES:
        view = computation.views[side]
        require_neighbors_without_group(
            len(samples.for_side(side)), GROUP_COUNT, task.convention, side
        )
        values = view.read(task.column.name)
        if task.scope(side):
            values = values[np.searchsorted(view.sample_ids, samples.for_side(side))]
        features[side] = values
    return survey_without_groups(
        real=features["real"],
        generated=features["generated"],
        real_ids=samples.real,
        generated_ids=samples.generated,
        groups=GROUP_COUNT,
        convention=task.convention,
        engine=computation.engine,
    )
