"""The loop of every evaluation: plan tasks, fold the statistics that they need, apply formulas."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np

from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.memory_limits import (
    fits_in_driver,
    max_base_rows,
    require_free_memory,
)
from raymetrics.distributed.nearest_views import nearest_training
from raymetrics.distributed.neighbors import survey_views
from raymetrics.metrics import Convention, ManifoldSurvey, NearestTraining
from raymetrics.metrics.group_errors import ByGroup, group_needs, values_of_groups
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.required_statistics import (
    AllRows,
    SelectedRows,
    StatisticFunction,
)
from raymetrics.metrics.survey_needs import SurveyNeeds
from raymetrics.neighbors import DEFAULT_ENGINE, survey_arrays
from raymetrics.neighbors.nearest_arrays import nearest_training_rows
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, FeatureRows
from raymetrics.studies.comparison import MetricTask
from raymetrics.studies.number_errors import add_errors
from raymetrics.studies.subsets import SIDES, Subset

BYTES_PER_PASS = 1_000_000_000  # bytes of statistics that one pass over the shards gathers


_SurveyKey = tuple[str, Subset, tuple[int, ...], str, str]


@dataclass(frozen=True, eq=False)
class PlannedTask:
    """A task, with the statistics that it needs."""

    task: MetricTask
    subset: Subset
    convention: Convention  # with the seed of the subset
    required: Mapping[str, Mapping[str, StatisticFunction]]  # {side: {name: function}}

    @property
    def metric(self) -> Metric:
        return self.task.metric

    @property
    def column(self) -> Column:
        return self.task.column

    def scope(self, side: str) -> Subset | None:
        """Return the subset if it restricts a side.

        The others share the statistics of all samples of that side, None.
        """
        return self.subset if side in self.subset.restricted_sides else None

    @property
    def survey_needs(self) -> SurveyNeeds:
        """What it needs of a survey."""
        return self.metric.survey_needs(self.subset.samples, self.convention)

    @property
    def survey_key(self) -> _SurveyKey:
        """What tells its survey from those of other columns, samples and balls."""
        balls = self.convention
        return self.column.name, self.subset, balls.ks, balls.ball, balls.distances

    @cached_property
    def bytes_by_function(self) -> dict[object, int]:
        """The estimated bytes of every statistic; functions of equal statistics are equal."""
        return {
            (side, self.column.name, self.scope(side), function): function.estimated_bytes(
                self.column.dimension, len(self.subset.samples.for_side(side))
            )
            for side in SIDES
            for function in self.required[side].values()
        }


def plan_tasks(
    tasks: Iterable[MetricTask], convention: Convention, *, intervals: bool = False
) -> list[PlannedTask]:
    """Find out which statistics every task needs. Every task has a subset.

    intervals: whether the numbers get intervals.
    """
    return [_plan_task(task, convention, intervals) for task in tasks]


def _plan_task(task: MetricTask, convention: Convention, intervals: bool) -> PlannedTask:
    subset = task.subset
    assert subset is not None
    convention = replace(convention, seed=convention.seed + subset.seed)
    required: dict[str, Mapping[str, StatisticFunction]] = {}
    for side in SIDES:
        metric = task.metric
        if side not in task.sides:
            required[side] = {}
            continue
        needs = {} if metric.needs is None else metric.needs(subset.samples, side, convention)
        # A survey reads whole sides itself.
        takes_rows = metric.reads_rows and side in subset.restricted_sides
        required[side] = {**needs, "rows": AllRows()} if takes_rows else needs
    if intervals:
        required = group_needs(required, task.metric, subset.samples)
    return PlannedTask(task, subset, convention, required)


def require_memory(views: Mapping[str, View], planned: Sequence[PlannedTask]) -> None:
    """Raise InsufficientResources if the statistics of a task do not fit into memory."""
    if any(task.metric.reads_rows for task in planned):
        for task in planned:
            if not fits_in_driver(views, task.column.name):
                max_base_rows(task.column.dimension)
    for task in planned:
        rows = sum(len(task.subset.samples.for_side(side)) for side in SIDES)
        require_free_memory(
            2 * sum(task.bytes_by_function.values()),  # a merge holds both parts
            f"for {task.column.name}, {task.metric.name} of {rows} samples needs",
            "leave it out of --metrics, or evaluate on a larger machine",
        )


@dataclass(frozen=True, eq=False)
class MetricComputation:
    """The values of planned tasks, and the realism of the generated samples by column."""

    views: Mapping[str, View]
    planned: Sequence[PlannedTask]
    bytes_per_pass: int = BYTES_PER_PASS
    engine: str = DEFAULT_ENGINE
    realism: dict[str, np.ndarray] = field(default_factory=dict)  # filled in by `values`
    intervals: bool = False  # whether values have errors

    def values(self) -> Iterator[tuple[PlannedTask, MetricValue, float]]:
        """Yield every value, with the seconds of its formula, in the order of the tasks.

        Reads each side once for as many tasks as `bytes_per_pass` allows, and again for a survey.
        """
        surveys: dict[_SurveyKey, ManifoldSurvey] = {}
        for batch in _batch_by_memory(self.planned, self.bytes_per_pass):
            computed = self._batch_values(batch, surveys)
            yield from add_errors(self, list(computed)) if self.intervals else computed

    def _batch_values(
        self, batch: Sequence[PlannedTask], surveys: dict[_SurveyKey, ManifoldSurvey]
    ) -> Iterator[tuple[PlannedTask, MetricValue, float]]:
        """Yield the values of a batch, whose statistics one pass gathers."""
        statistics = {side: _fold_required(self.views[side], batch, side) for side in SIDES}
        for task in batch:
            start = time.monotonic()
            real, generated = (_statistics_of(task, side, statistics[side]) for side in SIDES)
            if task.metric.compute is not None:
                values = _computed_values(task, real, generated)
            elif task.metric.nearest_values is not None:
                nearest = self._nearest_training(task, (real, generated))
                values = task.metric.nearest_values(nearest, task.subset.samples, task.convention)
            else:
                key = task.survey_key
                if key not in surveys:
                    surveys[key] = self._survey(task, (real, generated))
                values = self._survey_values(task, surveys[key], real, generated)
            seconds = time.monotonic() - start
            yield from ((task, value, seconds) for value in values)

    def _survey(self, task: PlannedTask, sides: Sequence[Mapping[str, Any]]) -> ManifoldSurvey:
        """Make one survey for all metrics of a column, subset and kind of balls that need one."""
        surveying = [planned for planned in self.planned if planned.metric.survey is not None]
        together = [p.survey_needs for p in surveying if p.survey_key == task.survey_key]
        needs = reduce(SurveyNeeds.__or__, together)
        convention = task.convention
        if not task.subset.restricted_sides:
            return survey_views(
                real=self.views["real"],
                generated=self.views["generated"],
                column=task.column.name,
                convention=convention,
                needs=needs,
                engine=self.engine,
                searched_k=self._largest_k(task),
            )
        rows: list[FeatureRows] = [statistics["rows"] for statistics in sides]
        real, generated = (side_rows.features for side_rows in rows)
        return survey_arrays(
            real=real,
            generated=generated,
            convention=convention,
            needs=needs,
            engine=self.engine,
        )

    def _nearest_training(
        self, task: PlannedTask, sides: Sequence[Mapping[str, Any]]
    ) -> NearestTraining:
        """Find the nearest real, the training, samples of the generated ones."""
        if task.subset.restricted_sides:
            real, generated = (statistics["rows"].features for statistics in sides)
            return nearest_training_rows(real=real, generated=generated, engine=self.engine)
        return nearest_training(
            real=self.views["real"],
            generated=self.views["generated"],
            column=task.column.name,
            engine=self.engine,
        )

    def _largest_k(self, task: PlannedTask) -> int:
        """Return the largest k of a column under any convention, so that radii are found once."""
        return max(
            planned.survey_needs.largest_k(side, planned.convention)
            for planned in self.planned
            if planned.column == task.column
            for side in SIDES
        )

    def _survey_values(
        self,
        task: PlannedTask,
        survey: ManifoldSurvey,
        real: Mapping[str, Any],
        generated: Mapping[str, Any],
    ) -> list[MetricValue]:
        assert task.metric.survey_values is not None  # as it has no other formula
        if task.survey_needs.realism:
            self.realism[task.column.name] = survey.generated_in_real.realism
        statistics = {} if task.metric.needs is None else {"real": real, "generated": generated}
        return task.metric.survey_values(survey, task.subset.samples, task.convention, **statistics)


def _computed_values(
    task: PlannedTask, real: Mapping[str, Any], generated: Mapping[str, Any]
) -> list[MetricValue]:
    """Apply the formula of a task to its statistics; to those by group, with errors."""
    assert task.metric.compute is not None
    samples = task.subset.samples
    if any(isinstance(need, ByGroup) for need in task.required["generated"].values()):
        sides = {"real": real, "generated": generated}
        return values_of_groups(task.metric, sides, samples, task.convention)
    return task.metric.compute(real, generated, samples, task.convention)


@dataclass(frozen=True)
class _FoldKey:
    """What tells a statistic of one side from another: its column, samples, name and function.

    One function selects the rows of all tasks, so that of those the function is None.
    """

    column: str
    scope: Subset | None  # the subset if it restricts the side
    name: str
    function: StatisticFunction | None


def _fold_key(task: PlannedTask, side: str, name: str) -> _FoldKey:
    function = task.required[side][name]
    is_selection = isinstance(function, SelectedRows)
    return _FoldKey(task.column.name, task.scope(side), name, None if is_selection else function)


def _fold_required(view: View, batch: Sequence[PlannedTask], side: str) -> dict[_FoldKey, Any]:
    """Fold the statistics that a batch needs of a side, in one pass over its shards."""
    functions: dict[_FoldKey, list[StatisticFunction]] = {}
    for task in batch:
        for name, function in task.required[side].items():
            functions.setdefault(_fold_key(task, side, name), []).append(function)
    measures = {
        str(i): ColumnStatistic(
            key.column,
            _combine(equal_functions),
            key.scope.samples.for_side(side) if key.scope else None,
        )
        for i, (key, equal_functions) in enumerate(functions.items())
    }
    folded = fold_shards(view, measures, _bytes_together(batch) // 2)
    return {key: folded[str(i)] for i, key in enumerate(functions)}


def _statistics_of(task: PlannedTask, side: str, folded: Mapping[_FoldKey, Any]) -> dict[str, Any]:
    """Return the statistics of a side that a task needs, by name."""
    return {name: folded[_fold_key(task, side, name)] for name in task.required[side]}


def _combine(functions: Sequence[StatisticFunction]) -> StatisticFunction:
    """Return one function that serves all tasks: the union of selected rows.

    Other functions are equal.
    """
    selected = [function.ids for function in functions if isinstance(function, SelectedRows)]
    return SelectedRows(np.unique(np.concatenate(selected))) if selected else functions[0]


def _batch_by_memory(
    planned: Sequence[PlannedTask], bytes_per_pass: int
) -> Iterator[list[PlannedTask]]:
    """Yield the tasks in order, in batches whose statistics fit into one pass."""
    batch: list[PlannedTask] = []
    counted: dict[object, int] = {}
    total = 0
    for task in planned:
        need = task.bytes_by_function
        added = sum(size for key, size in need.items() if key not in counted)
        if batch and total + added > bytes_per_pass:
            yield batch
            batch, counted, total, added = [], {}, 0, sum(need.values())
        batch.append(task)
        counted |= need
        total += added
    yield batch


def _bytes_together(batch: Sequence[PlannedTask]) -> int:
    """Estimate the bytes of all statistics of a batch, each counted once."""
    together: dict[object, int] = {}
    for task in batch:
        together |= task.bytes_by_function
    return sum(together.values())
