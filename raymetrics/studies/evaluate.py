"""The metrics of two shard sets: check the request, read the shards, compute, make results."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics import metrics as formulas
from raymetrics.distributed.choose_executor import SMALL_FEATURE_BYTES, runs_in_process
from raymetrics.distributed.session import session, shared_session
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics import Convention
from raymetrics.metrics.metric import Metric
from raymetrics.metrics.registry import DEFAULT_METRICS, find_metrics
from raymetrics.python_arguments import ARRAYS_HINT, as_names, require_text
from raymetrics.results import Result
from raymetrics.shards.foreign import is_statistics
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_output
from raymetrics.studies.comparison import (
    MetricTask,
    comparable_columns,
    metric_applies,
    open_as_view,
    require_applicable,
    require_unique_samples,
    take_samples,
)
from raymetrics.studies.compute_metrics import MetricComputation, plan_tasks, require_memory
from raymetrics.studies.evaluate_statistics_file import evaluate_with_statistics_file
from raymetrics.studies.make_result import make_result, sides_of_subset
from raymetrics.studies.subsets import SIDES, all_samples, subsets_by_label


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
    local: bool | None = None,
) -> list[Result]:
    """Compute the metrics of two complete shard sets, in every feature space that both have.

    real, generated: shard sets, or some of their samples as "SHARDS?ids=FILE". One of the two may
    be a file of statistics of another program (.npz, .pkl, .pt, see
    `raymetrics.shards.foreign.statistics_files`), for "fid" and "sfid" alone.
    metrics: names of METRICS, or "module:callable" for a metric of your own (see
    `raymetrics.metrics.user_metric`); by default "fid", "kid", "pr" and "top1", or those of the
    protocol. "fid" is the Frechet distance in any feature space, and is labelled by that space.
    extractors, columns: only these spaces. A column of logits that is named here is taken as
    features.
    convention: a `Convention`, or the name of a program whose choices are repeated.
    protocol: a name of the literature, which sets metrics, convention and sample counts.
    samples: the number of first samples of each side, by sample id; all by default.
    by: "label" computes every metric once for each label.
    scores: with "realism", a Parquet file for the score of every generated sample.
    tell: called with the results, before the scores are written.
    any_size: compare sets whose images have different sizes too, which are refused otherwise.
    local: compute in this process, without Ray; False: on Ray; by default in this process if the
    features are few.

    Reads each set in as few passes as memory allows, on Ray; the search for neighbors reads it
    again. ShardError for an incomplete set, SpecMismatch for sets that cannot be compared,
    NotEnoughData, or InsufficientResources before any feature is read.
    """
    real, generated = _require_set("real", real), _require_set("generated", generated)
    metrics, extractors, columns = (
        None if names is None else as_names(names) for names in (metrics, extractors, columns)
    )
    resolved_protocol = None if protocol is None else formulas.get_protocol(protocol)
    if resolved_protocol and (convention, metrics, samples) != (None, None, None):
        raise RaymetricsError(
            f"protocol {resolved_protocol.name} says metrics, convention and samples; leave those "
            "out"
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
    found_metrics = find_metrics(
        resolved_protocol.metrics
        if resolved_protocol
        else DEFAULT_METRICS
        if metrics is None
        else metrics
    )
    views = take_samples(whole_views, resolved_protocol, samples)
    subsets = subsets_by_label(views) if by == "label" else [all_samples(views)]
    tasks = [
        MetricTask(metric, column, subset)
        for subset in subsets
        for column in spaces
        for metric in found_metrics
        if metric_applies(metric, column, views["real"].shards.spec, explicit=bool(columns))
    ]
    is_explicit = bool(metrics or resolved_protocol)
    require_applicable(tasks, found_metrics if is_explicit else found_metrics[:1], spaces)
    require_unique_samples(tasks, views)
    _require_enough_samples(views, tasks, resolved_convention)
    if scores and (by or "realism" not in {metric.name for metric in found_metrics}):
        raise RaymetricsError("scores of samples are those of --metrics realism, of all labels")
    if scores is not None:
        require_writable_output(scores)
    computation = MetricComputation(views, plan_tasks(tasks, resolved_convention))
    with session(local=_runs_in_process(local, views, spaces)):
        require_memory(views, computation.planned)
        results = [
            make_result(
                value,
                planned.task,
                [views[side].shards.spec for side in SIDES],
                sides_of_subset(views, planned.subset),
                resolved_convention,
                resolved_protocol,
                seconds,
            )
            for planned, value, seconds in computation.values()
        ]
    if tell:
        tell(results)
    if scores:
        write_scores(scores, views["generated"].sample_ids, computation.realism)
    return results


def _runs_in_process(
    local: bool | None, views: Mapping[str, View], spaces: Sequence[Column]
) -> bool:
    """Return whether the numbers are computed in this process: no metric takes more than a few
    passes over the features of both sides."""
    size = sum(4 * column.dimension * len(view) for column in spaces for view in views.values())
    work = f"{' and '.join(str(len(view)) for view in views.values())} samples"
    return runs_in_process(local, small=size <= SMALL_FEATURE_BYTES, work=work)


def _require_set(side: str, value: object) -> str | ShardSet:
    """Return a shard set, or the text or path that names one.

    ShardError, with advice, for a value of another type.
    """
    if isinstance(value, ShardSet):
        return value
    expected = "the path or URI of a shard set"
    return require_text(side, value, ShardError, expected=expected, instead=ARRAYS_HINT)


def _require_enough_samples(
    views: Mapping[str, View], tasks: Sequence[MetricTask], convention: Convention
) -> None:
    """Raise NotEnoughData if a metric takes more samples than a side has."""
    metrics = {task.metric.name: task.metric for task in tasks}.values()
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
