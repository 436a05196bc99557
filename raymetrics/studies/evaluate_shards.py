"""The metrics of two views of shard sets: plan the tasks, check them, compute, make results."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.distributed.choose_executor import SMALL_FEATURE_BYTES, runs_in_process
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import PUBLISHED, Convention, Protocol
from raymetrics.metrics.metric import Metric
from raymetrics.neighbors import DEFAULT_ENGINE, make_engine
from raymetrics.results import Result
from raymetrics.shards.comparability import require_same_machines, shared_extractors
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_output
from raymetrics.studies.comparison import (
    MetricTask,
    columns_of_protocol,
    comparable_columns,
    cut_to_equal_counts,
    plan_generated_metrics,
    plan_metrics,
    require_applicable,
    require_spaces_once,
    require_unique_samples,
    take_samples,
)
from raymetrics.studies.compute_metrics import MetricComputation, plan_tasks, require_memory
from raymetrics.studies.label_summaries import summarize_labels
from raymetrics.studies.make_result import make_result, sides_of_subset
from raymetrics.studies.number_errors import require_enough_for_intervals
from raymetrics.studies.protocol_images import require_images_of_view
from raymetrics.studies.result_warnings import (
    Facts,
    SideFacts,
    find_label_warnings,
    find_warnings,
)
from raymetrics.studies.subsets import SIDES, Subset, all_samples, subsets_by_label
from raymetrics.studies.validation_norms import (
    Validation,
    bind_validation,
    mean_ratio,
    require_published_norms,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationRequest:
    """What is to be computed of two sides; the fields are arguments of `evaluate`.

    metrics: in the order of the results. is_explicit: whether the user or a protocol named them,
    so that each must have a column. space_names: extractors to compare, None for all. random_ids:
    the seed of all random choices of samples; None for the protocol's, or the convention's.
    validation: the set of which FDr has its norms, or "published".
    """

    metrics: Sequence[Metric]
    is_explicit: bool
    convention: Convention
    protocol: Protocol | None
    columns: Sequence[str] | None
    space_names: Sequence[str] | None
    by: str | None
    scores: str | None
    any_size: bool
    local: bool | None
    random_ids: int | None = None
    engine: str = DEFAULT_ENGINE
    same_machines: bool = False
    equal_counts: bool = False
    validation: Validation = None
    intervals: bool = False

    def __post_init__(self) -> None:
        if self.columns and self.space_names:
            raise RaymetricsError("columns say their extractors; leave those out")
        if self.by not in (None, "label"):
            raise RaymetricsError(f"by is {self.by!r}; there is only 'label'")
        if self.scores and (self.by or "realism" not in {m.name for m in self.metrics}):
            raise RaymetricsError("scores of samples are those of --metrics realism, of all labels")
        if self.scores is not None:
            require_writable_output(self.scores)
        if self.equal_counts and self.protocol is not None:
            raise RaymetricsError(
                f"protocol {self.protocol.name} says how many samples each side has; leave out "
                "equal_counts"
            )
        make_engine(self.engine)  # says now what is missing

    @property
    def equal_counts_seed(self) -> int | None:
        """The seed by which sides are cut to equal counts; None if they are not."""
        if not self.equal_counts:
            return None
        return self.convention.seed if self.random_ids is None else self.random_ids

    def compared_counts(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Return how many samples of each side are compared, of so many; 0 if unknown."""
        smaller_count = min(counts.values())
        return dict.fromkeys(counts, smaller_count) if self.equal_counts else dict(counts)

    def select_samples(self, views: Mapping[str, View]) -> Mapping[str, View]:
        """Return the views with the samples of the protocol, or with equal counts.

        Equal counts of each label are taken later.
        """
        views = take_samples(views, self.protocol, self.random_ids)
        if self.equal_counts_seed is None or self.by is not None:
            return views
        return cut_to_equal_counts(views, self.equal_counts_seed)

    def compared_columns(self, real: ShardSet, generated: ShardSet) -> list[Column]:
        """Return the columns that are compared. SpecMismatch if the sets cannot be."""
        if self.same_machines:
            require_same_machines(real)
            require_same_machines(generated)
        if not shared_extractors(real, generated) and self._only_takes_generated:
            return []
        return comparable_columns(
            real, generated, self.space_names, self.columns, any_size=self.any_size
        )

    def generated_columns(self, real: ShardSet, generated: ShardSet) -> list[Column]:
        """Return the columns that only the generated side has, of the spaces that are asked for."""
        if self.columns:
            return []
        return [
            column
            for column in generated.spec.columns
            if column not in real.spec.columns
            and (self.space_names is None or column.extractor in self.space_names)
        ]

    @property
    def _only_takes_generated(self) -> bool:
        """Whether no metric needs columns of the real side."""
        return all(metric.generated_suffices for metric in self.metrics)

    def without_too_large(self, counts: Mapping[str, int], *, announce: bool) -> EvaluationRequest:
        """Return the request without default metrics that take more samples than a side has.

        counts: samples of each side; 0 where they are not known. Metrics that the user named stay.
        announce: whether what is left out is logged.
        """
        if self.is_explicit:
            return self
        known = [count for count in counts.values() if count]
        left_out = [
            metric
            for metric in self.metrics[1:]
            if known and min(known) < metric.min_samples(self.convention)
        ]
        for metric in left_out if announce else ():
            log.info(
                "%s is left out: it takes %d samples of each side, there are %s",
                metric.name,
                metric.min_samples(self.convention),
                " and ".join(map(str, known)),
            )
        return replace(self, metrics=[m for m in self.metrics if m not in left_out])

    def plan(
        self,
        columns: Sequence[Column],
        dataset_spec: DatasetSpec,
        subsets: Sequence[Subset | None],
        generated_columns: Sequence[Column] = (),
    ) -> list[MetricTask]:
        """Return the tasks, by subset, column and metric. RaymetricsError for a metric without.

        columns: of both sides. dataset_spec: of a set that has all columns. generated_columns: that
        only the generated side has. Gets the files that metrics need, or raises ExtractorError.
        """
        columns = columns_of_protocol(self.protocol, columns)
        tasks = plan_metrics(
            self.metrics, columns, dataset_spec, subsets, explicit=bool(self.columns)
        )
        tasks += plan_generated_metrics(self.metrics, generated_columns, dataset_spec, subsets)
        required = self.metrics if self.is_explicit else self.metrics[:1]
        require_applicable(tasks, required, [*columns, *generated_columns])
        for metric in {task.metric.variant: task.metric for task in tasks}.values():
            if metric.require_files is not None:
                metric.require_files()
        require_spaces_once(self.protocol, tasks)
        if self.validation == PUBLISHED:
            require_published_norms(tasks)
        return tasks


def evaluate_shards(
    views: Mapping[str, View],
    request: EvaluationRequest,
    tell: Callable[[list[Result]], None] | None,
    *,
    announce: bool = True,
) -> list[Result]:
    """Compute the metrics of two views, see `raymetrics.studies.evaluate.evaluate`.

    announce: whether a choice of this process over Ray, and metrics that are left out, are logged.
    """
    for side, view in views.items():
        require_images_of_view(request.protocol, side, view)
    columns = request.compared_columns(views["real"].shards, views["generated"].shards)
    views = request.select_samples(views)
    request = request.without_too_large(
        {side: len(view) for side, view in views.items()}, announce=announce
    )
    subsets = (
        subsets_by_label(views, request.equal_counts_seed)
        if request.by == "label"
        else [all_samples(views, request.equal_counts_seed)]
    )
    tasks = request.plan(
        columns,
        views["generated"].shards.spec,
        subsets,
        request.generated_columns(views["real"].shards, views["generated"].shards),
    )
    require_unique_samples(tasks, views)
    require_enough_samples(views, tasks, request.convention)
    if request.intervals:
        require_enough_for_intervals(views, tasks, request.convention.ks)
    facts = {side: SideFacts(view) for side, view in views.items()}
    with session(local=computes_in_process(request.local, views, columns, announce)):
        tasks = bind_validation(
            tasks, request.validation, views["real"].shards, any_size=request.any_size
        )
        computation = MetricComputation(
            views,
            plan_tasks(tasks, request.convention, intervals=request.intervals),
            engine=request.engine,
            intervals=request.intervals,
        )
        require_memory(views, computation.planned)
        results = [
            make_result(
                value,
                planned.task,
                [views[side].shards.spec for side in planned.task.sides],
                sides_of_subset(views, planned.subset),
                request.convention,
                request.protocol,
                seconds,
                warnings_of(planned.task, request.convention, facts),
            )
            for planned, value, seconds in computation.values()
        ]
    results += summarize_labels(results) if request.by == "label" else mean_ratio(results)
    if tell:
        tell(results)
    if request.scores:
        write_scores(request.scores, views["generated"].sample_ids, computation.realism)
    return results


def warnings_of(
    task: MetricTask, convention: Convention, facts: Mapping[str, SideFacts]
) -> tuple[str, ...]:
    """Return the warnings of a number of all samples; of one label that of unequal counts."""
    if task.subset is not None and task.subset.restricted_sides:
        samples = task.subset.samples
        return find_label_warnings(task.metric, len(samples.real), len(samples.generated))
    return find_warnings(Facts(task.metric, task.column, convention, **facts))


def require_evaluable(
    request: EvaluationRequest,
    made_of: DatasetSpec,
    opened: Mapping[str, ShardSet],
    counts: Mapping[str, int],
) -> None:
    """Raise the errors that an evaluation of sets with these extractors would have in the end.

    opened: the sets that are there already, by side. counts: samples of each side; 0 where they are
    not known.
    """
    counts = request.compared_counts(counts)
    shards = ShardSet(Store("."), made_of, ())
    real, generated = (opened.get(side, shards) for side in SIDES)
    columns = request.compared_columns(real, generated)
    own = request.generated_columns(real, generated)
    request = request.without_too_large(counts, announce=True)
    tasks = request.plan(columns, generated.spec, [None], own)
    for metric in {task.metric.variant: task.metric for task in tasks}.values():
        for side, count in counts.items():
            if count:
                require_enough_for_metric(
                    metric, request.convention, count, f"there are {count} {side} ones"
                )
        if metric.require_counts is not None and all(counts.values()):
            metric.require_counts(counts["real"], counts["generated"])


def computes_in_process(
    local: bool | None, views: Mapping[str, View], columns: Sequence[Column], announce: bool
) -> bool:
    """Return whether this process computes the numbers, as the features are few."""
    size = sum(4 * column.dimension * len(view) for column in columns for view in views.values())
    counts = " and ".join(str(len(view)) for view in views.values())
    work = f"{counts} samples" if announce else ""
    return runs_in_process(local, small=size <= SMALL_FEATURE_BYTES, work=work)


def require_enough_samples(
    views: Mapping[str, View], tasks: Sequence[MetricTask], convention: Convention
) -> None:
    """Raise NotEnoughData if a metric takes more samples than a side has."""
    metrics = {task.metric.variant: task.metric for task in tasks}.values()
    for subset in dict.fromkeys(task.subset for task in tasks):
        assert subset is not None
        suffix = subset.title and f" of {subset.title}"
        for metric in metrics:
            for side in SIDES:
                uri, count = views[side].shards.uri, len(subset.samples.for_side(side))
                count_in_words = f"{uri} has {count} {side} ones{suffix}"
                require_enough_for_metric(metric, convention, count, count_in_words)
            if metric.require_counts is not None:
                metric.require_counts(len(subset.samples.real), len(subset.samples.generated))


def require_enough_for_metric(
    metric: Metric, convention: Convention, count: int, count_in_words: str
) -> None:
    """Raise NotEnoughData if a metric takes more samples than this count.

    count_in_words: the count and the set that has it, for the message.
    """
    minimum = metric.min_samples(convention)
    if count < minimum:
        raise NotEnoughData(
            f"{metric.name} takes at least {minimum} samples, {count_in_words}; extract more, or "
            f"leave it out of --metrics{metric.fewer_samples_hint}"
        )


def write_scores(path: str, sample_ids: np.ndarray, scores: Mapping[str, np.ndarray]) -> None:
    """Write a Parquet file: sample_id int64, and realism_COLUMN float64 for every column."""
    columns = {f"realism_{name}": pa.array(values) for name, values in scores.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"sample_id": pa.array(sample_ids), **columns}), buffer)
    name = path.rpartition("/")[2]
    Store(path.removesuffix(name) or ".").replace(name, buffer.getvalue())
