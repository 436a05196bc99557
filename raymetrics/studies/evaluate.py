"""`evaluate`: what is asked is checked, read once, computed, and given its provenance."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics import metrics as formulas
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.neighbors import fits_at_once, rows_that_fit, survey_views
from raymetrics.distributed.session import session, shared_session
from raymetrics.errors import InsufficientResources, NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics import Convention, ManifoldSurvey, Protocol, registry
from raymetrics.metrics.prd import require_equal_counts
from raymetrics.metrics.registry import DEFAULT_METRICS, METRICS, Metric, MetricValue
from raymetrics.metrics.required_statistics import SampleIds, estimated_bytes
from raymetrics.neighbors import survey_arrays
from raymetrics.neighbors.faiss_indexes import load_faiss
from raymetrics.python_arguments import ARRAYS_HINT, as_names, require_text
from raymetrics.results import Result
from raymetrics.shards.foreign import is_statistics
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_output
from raymetrics.statistics import ColumnStatistic, FeatureRows
from raymetrics.studies.comparison import (
    SIDES,
    MetricTask,
    comparable_columns,
    metric_applies,
    open_as_view,
    read_labels,
    require_applicable,
    require_unique_samples,
    resolve_metrics,
    take_samples,
)
from raymetrics.studies.evaluate_statistics_file import evaluate_with_statistics_file
from raymetrics.studies.make_result import make_result, side_from_view

BYTES_PER_PASS = 1_000_000_000  # bytes of statistics that one pass over the shards gathers


@dataclass(frozen=True)
class _EvaluationRequest:
    """What is asked, checked and opened."""

    views: Mapping[str, View]
    labels: Mapping[str, np.ndarray] | None  # int64 [n] by side, where it is by label
    tasks: Sequence[MetricTask]
    convention: Convention
    protocol: Protocol | None

    def samples(self, label: int | None) -> SampleIds:
        """The ids of both sides, or of those with a label."""
        ids = {side: view.sample_ids for side, view in self.views.items()}
        if label is not None and self.labels is not None:
            ids = {side: ids[side][self.labels[side] == label] for side in ids}
        return SampleIds(**ids)


def evaluate(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    metrics: str | Sequence[str] | None = None,
    extractors: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    convention: Convention | str | None = None,
    protocol: str | None = None,
    samples: int | None = None,
    by: str | None = None,
    scores: str | None = None,
    tell: Callable[[list[Result]], None] | None = None,
    any_size: bool = False,
    local: bool = False,
) -> list[Result]:
    """The metrics of two complete shard sets, in every feature space that both have.

    real, generated: shard sets, or some of their samples as "SHARDS?ids=FILE"; one of the two
    may be a file of statistics that another program kept (.npz, .pkl, .pt, see
    `raymetrics.shards.foreign.statistics_files`), for "fid" and "sfid" alone.
    metrics: of METRICS; by default "fid", "kid", "pr" and "top1", or those of the protocol. "fid"
    is the Frechet distance in whatever space there is; it is labelled by that space.
    extractors, columns: only these spaces; of the columns named here also logits are taken as
    features.
    convention: a `Convention`, or the name of a program whose choices are made.
    protocol: a name of the literature, which says metrics, convention and sample counts.
    samples: only the first so many of either side, by sample id.
    by: "label": every number once for each label.
    scores: with "realism", a Parquet file for the score of every generated sample.
    tell: called with the numbers, before the scores are written.
    any_size: compare sets whose images have different sizes too, which are refused otherwise.
    local: compute in this process, without Ray.

    Reads either set in as few passes as memory allows, on Ray; neighbours read it again. Raises
    ShardError for an incomplete set, SpecMismatch for two that cannot be compared, NotEnoughData,
    or PlanTooLarge before any feature is read.
    """
    real, generated = _require_set("real", real), _require_set("generated", generated)
    metrics, extractors, columns = (
        None if names is None else as_names(names) for names in (metrics, extractors, columns)
    )
    resolved_protocol = None if protocol is None else formulas.get_protocol(protocol)
    if resolved_protocol and (convention, metrics, samples) != (None, None, None):
        raise RaymetricsError(
            f"protocol {resolved_protocol.name} says metrics, convention and samples; leave those out"
        )
    if columns and extractors:
        raise RaymetricsError("columns say their extractors; leave those out")
    if by not in (None, "label"):
        raise RaymetricsError(f"by is {by!r}; there is only 'label'")
    if isinstance(convention, str):
        convention = formulas.get_convention(convention)
    resolved_convention = (
        resolved_protocol.convention if resolved_protocol else convention or Convention()
    )
    if is_statistics(real) or is_statistics(generated):
        if by or scores:
            raise RaymetricsError(
                "a file of statistics knows neither labels nor samples; leave out by and scores"
            )
        with shared_session(local=local):
            results = evaluate_with_statistics_file(
                real=real,
                generated=generated,
                metrics=metrics,
                extractors=extractors,
                columns=columns,
                convention=resolved_convention,
                protocol=resolved_protocol,
                samples=samples,
            )
        if tell:
            tell(results)
        return results
    whole_views = {"real": open_as_view(real), "generated": open_as_view(generated)}
    sets = whole_views["real"].shards, whole_views["generated"].shards
    spaces = comparable_columns(*sets, extractors, columns, any_size=any_size)
    names = resolve_metrics(
        resolved_protocol.metrics
        if resolved_protocol
        else DEFAULT_METRICS
        if metrics is None
        else metrics
    )
    views = take_samples(whole_views, resolved_protocol, samples)
    labels = read_labels(views) if by == "label" else None
    tasks = [
        MetricTask(METRICS[name], column, label)
        for label in ([None] if labels is None else np.unique(labels["real"]).tolist())
        for column in spaces
        for name in names
        if metric_applies(METRICS[name], column, views["real"].shards.spec, explicit=bool(columns))
    ]
    require_applicable(tasks, names if metrics or resolved_protocol else names[:1], spaces)
    require_unique_samples(tasks, views)
    request = _EvaluationRequest(views, labels, tasks, resolved_convention, resolved_protocol)
    _require_enough_samples(request)
    if scores and (by or "realism" not in names):
        raise RaymetricsError("scores of samples are those of --metrics realism, of all labels")
    if scores is not None:
        require_writable_output(scores)
    table: dict[str, np.ndarray] = {}
    with session(local=local):
        _require_memory(request)
        results = [
            _result_for_request(value, task, request, seconds)
            for task, value, seconds in _compute_all(request, table)
        ]
    if tell:
        tell(results)
    if scores:
        write_scores(scores, views["generated"].sample_ids, table)
    return results


def _require_set(side: str, value: object) -> str | ShardSet:
    """Take a shard set, or the text or path that names one. ShardError, with what to do, for
    anything else."""
    if isinstance(value, ShardSet):
        return value
    expected = "the path or URI of a shard set"
    return require_text(side, value, ShardError, expected=expected, instead=ARRAYS_HINT)


def _compute_all(
    request: _EvaluationRequest, scores: dict[str, np.ndarray]
) -> Iterator[tuple[MetricTask, MetricValue, float]]:
    """Every value, with the seconds that its formula took; in the order of the items. Adds the
    realism of all samples to the scores, by column."""
    surveys: dict[tuple[str, int | None], ManifoldSurvey] = {}
    for batch in _batch_by_memory(request):
        statistics = {side: _fold_required(request, batch, side) for side in SIDES}
        for task in batch:
            start = time.monotonic()
            samples = request.samples(task.label)
            if task.metric.survey is None:
                column_and_label = task.column.name, task.label
                real_statistics, generated_statistics = (
                    statistics[side].get(column_and_label, {}) for side in SIDES
                )
                values = task.metric.compute(
                    real_statistics, generated_statistics, samples, request.convention
                )
            else:
                column_and_label = task.column.name, task.label
                if column_and_label not in surveys:
                    surveys[column_and_label] = _survey_for(request, task, statistics)
                values = _values_from_survey(
                    task, surveys[column_and_label], request.convention, samples
                )
                if task.metric.name == "realism":
                    scores[task.column.name] = surveys[column_and_label].generated_in_real.realism
            seconds = time.monotonic() - start
            yield from ((task, value, seconds) for value in values)


def _values_from_survey(
    task: MetricTask, survey: ManifoldSurvey, convention: Convention, samples: SampleIds
) -> list[MetricValue]:
    """The values of a metric that a survey answers."""
    if task.metric.name == "realism":
        return registry.realism_values(survey, convention, samples.generated)
    formula = {"pr": registry.precision_recall_values, "dc": registry.density_coverage_values}
    return formula[task.metric.name](survey, convention)


def _survey_for(
    request: _EvaluationRequest, task: MetricTask, statistics: Mapping[str, Any]
) -> ManifoldSurvey:
    """One survey for all the metrics of the column and label that need one."""
    convention, column = request.convention, task.column.name
    parts = [
        other_task.metric.survey or frozenset()
        for other_task in request.tasks
        if (other_task.column.name, other_task.label) == (column, task.label)
    ]
    count, realism = (
        any(survey_part in part for part in parts) for survey_part in ("count", "realism")
    )
    if task.label is None:
        views = request.views
        return survey_views(
            real=views["real"],
            generated=views["generated"],
            column=column,
            convention=convention,
            count=count,
            realism=realism,
        )
    rows: list[FeatureRows] = [statistics[side][column, task.label]["rows"] for side in SIDES]
    real, generated = (side.features for side in rows)
    return survey_arrays(
        real=real, generated=generated, convention=convention, count=count, realism=realism
    )


def _required_statistics(
    request: _EvaluationRequest, task: MetricTask, side: str
) -> dict[str, Any]:
    """The statistics that an item needs of a side, by name."""
    if task.metric.needs is not None:
        return dict(task.metric.needs(request.samples(task.label), side, request.convention))
    return {} if task.label is None else {"rows": FeatureRows.from_samples}


def _fold_required(
    request: _EvaluationRequest, batch: Sequence[MetricTask], side: str
) -> dict[Any, dict[str, Any]]:
    """The statistics that a batch needs of a side, {(column, label): {name: statistic}}; in one
    pass over its shards."""
    measures, destinations = {}, {}
    for task in batch:
        for name, block_statistic in _required_statistics(request, task, side).items():
            key = f"{name} {task.column.name} {task.label}"
            measures[key] = ColumnStatistic(task.column.name, block_statistic, task.label)
            destinations[key] = (task.column.name, task.label), name
    statistics: dict[Any, dict[str, Any]] = {}
    total = sum(_bytes_needed(request, task) for task in batch) // 2
    for key, statistic in fold_shards(request.views[side], measures, total).items():
        column_and_label, name = destinations[key]
        statistics.setdefault(column_and_label, {})[name] = statistic
    return statistics


def _batch_by_memory(request: _EvaluationRequest) -> Iterator[list[MetricTask]]:
    """The items in their order, as many at a time as one pass may gather statistics for."""
    batch: list[MetricTask] = []
    total = 0
    for task in request.tasks:
        need = _bytes_needed(request, task)
        if batch and total + need > BYTES_PER_PASS:
            yield batch
            batch, total = [], 0
        batch.append(task)
        total += need
    yield batch


def _bytes_needed(request: _EvaluationRequest, task: MetricTask) -> int:
    """By the statistics of both sides."""
    samples = request.samples(task.label)
    return sum(
        estimated_bytes(block_statistic, task.column.dimension, len(samples.for_side(side)))
        for side in SIDES
        for block_statistic in _required_statistics(request, task, side).values()
    )


def _min_samples(metric: Metric, convention: Convention) -> int:
    """Samples on either side that a metric takes."""
    minima = {
        "fid": convention.ddof + 1,
        "sfid": convention.ddof + 1,
        "kid": convention.kid_subset_size,
    }
    minima |= {"is": convention.is_splits, "prd": 20, "fid-infinity": 150, "fid-counts": 20}
    return convention.ks[-1] + 1 if metric.survey is not None else minima.get(metric.name, 1)


def _require_enough_samples(request: _EvaluationRequest) -> None:
    """NotEnoughData if a metric takes more samples than a side has."""
    for label in dict.fromkeys(task.label for task in request.tasks):
        samples = request.samples(label)
        label_suffix = "" if label is None else f" of label {label}"
        for metric in {task.metric.name: task.metric for task in request.tasks}.values():
            for side in SIDES:
                uri, count = request.views[side].shards.uri, len(samples.for_side(side))
                count_in_words = f"{uri} has {count} {side} ones{label_suffix}"
                require_enough_for_metric(metric, request.convention, count, count_in_words)
            if metric.name == "prd":
                require_equal_counts(len(samples.real), len(samples.generated), 20)


def require_enough_for_metric(
    metric: Metric, convention: Convention, count: int, count_in_words: str
) -> None:
    """NotEnoughData if a metric takes more samples than this count, which `there_are` tells."""
    minimum = _min_samples(metric, convention)
    if count < minimum:
        smaller = " or ask for a smaller --kid-subset-size" if metric.name == "kid" else ""
        raise NotEnoughData(
            f"{metric.name} takes at least {minimum} samples, {count_in_words}; extract more, or leave "
            f"it out of --metrics{smaller}"
        )


def _require_memory(request: _EvaluationRequest) -> None:
    """PlanTooLarge if what a metric must hold does not fit into memory."""
    if any(task.metric.survey is not None for task in request.tasks):
        load_faiss()  # says what is missing before anything is read
        for task in request.tasks:
            if not fits_at_once(request.views, task.column.name):
                rows_that_fit(task.column.dimension)
    free = psutil.virtual_memory().available
    for task in request.tasks:
        need = 2 * _bytes_needed(request, task)  # a merge holds what it merges
        if need > free:
            rows = sum(len(request.samples(task.label).for_side(side)) for side in SIDES)
            raise InsufficientResources(
                f"{task.metric.name} of {rows} samples needs {need / 1e9:.1f} GB for "
                f"{task.column.name}, {free / 1e9:.1f} GB are free; leave it out of --metrics, or "
                "evaluate on a larger machine"
            )


def _result_for_request(
    value: MetricValue, task: MetricTask, request: _EvaluationRequest, seconds: float
) -> Result:
    """The value as a result of both sides."""
    samples = request.samples(task.label)
    sides = {
        name: side_from_view(view, len(samples.for_side(name)))
        for name, view in request.views.items()
    }
    specs = [request.views[side].shards.spec for side in SIDES]
    return make_result(value, task, specs, sides, request.convention, request.protocol, seconds)


def write_scores(path: str, sample_ids: np.ndarray, scores: Mapping[str, np.ndarray]) -> None:
    """A Parquet file: sample_id int64, and realism_COLUMN float64 for every column."""
    columns = {f"realism_{name}": pa.array(values) for name, values in scores.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"sample_id": pa.array(sample_ids), **columns}), buffer)
    name = path.rpartition("/")[2]
    Store(path.removesuffix(name) or ".").replace(name, buffer.getvalue())
