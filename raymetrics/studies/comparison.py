"""The comparison of two shard sets: their samples, common columns, and the tasks of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raymetrics.errors import RaymetricsError, ShardError, SpecMismatch
from raymetrics.metrics import Protocol
from raymetrics.metrics.metric import Metric
from raymetrics.metrics.registry import METRICS
from raymetrics.python_arguments import ARRAYS_HINT, require_text
from raymetrics.shards.comparability import require_same_extractor, require_shared_extractors
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.studies.subsets import SIDES, Subset


@dataclass(frozen=True, eq=False)
class MetricTask:
    """One metric of one column to compute."""

    metric: Metric
    column: Column
    subset: Subset | None = None  # None for all samples of both sides


def metric_applies(
    metric: Metric, column: Column, dataset_spec: DatasetSpec, *, explicit: bool
) -> bool:
    """Tell whether the metric takes a column of a shard set.

    explicit: the user named the column, so it counts as features whatever its output is.
    """
    network = _network_name(column, dataset_spec)
    return metric.applies_to(column.output, network, explicit=explicit)


def _network_name(column: Column, dataset_spec: DatasetSpec) -> str:
    """Return the published network of a column, whatever its extractor is called in this set."""
    spec = next(spec for spec in dataset_spec.extractors if spec["name"] == column.extractor)
    return str(spec.get("network", column.extractor))


def require_applicable(
    tasks: Sequence[MetricTask], metrics: Sequence[Metric], spaces: Sequence[Column]
) -> None:
    """Raise RaymetricsError if one of the metrics takes none of the columns."""
    for metric in metrics:
        if not any(task.metric.name == metric.name for task in tasks):
            column_names = ", ".join(column.name for column in spaces)
            raise RaymetricsError(
                f"{metric.name} takes a column of {metric.column_kind}; there are {column_names}"
            )


def require_measurable(
    real: ShardSet, generated: ShardSet, metrics: Sequence[Metric], columns: Sequence[str] | None
) -> None:
    """Raise the errors of an evaluation of two sets that do not depend on their samples.

    SpecMismatch unless the sets can be compared, RaymetricsError for a metric without a column.
    """
    spaces = comparable_columns(real, generated, None, columns)
    explicit = bool(columns)
    tasks = [
        MetricTask(metric, column)
        for metric in metrics
        for column in spaces
        if metric_applies(metric, column, real.spec, explicit=explicit)
    ]
    require_applicable(tasks, metrics, spaces)


def set_uri(side: str, shards: object) -> str:
    """Return the text that names a shard set. Raise ShardError for anything else, as for arrays."""
    if isinstance(shards, ShardSet):
        return shards.uri
    expected = "the path or URI of a shard set"
    return require_text(side, shards, ShardError, expected=expected, instead=ARRAYS_HINT)


def open_as_view(shards: str | ShardSet | View) -> View:
    """Open the samples of a complete shard set, listed anew, or of "SHARDS?ids=FILE".

    A view is open already, and is returned.
    """
    if isinstance(shards, View):
        return shards
    return open_view(shards if isinstance(shards, str) else shards.uri)


def take_samples(
    views: Mapping[str, View],
    protocol: Protocol | None,
    random_ids: int | None,
) -> Mapping[str, View]:
    """Take the samples of a protocol; all, without one. NotEnoughData for too few.

    random_ids: the seed by which a protocol's samples are chosen, in the place of the first ones.
    """
    if protocol is None:
        return views
    counts = protocol.counts(real=len(views["real"]), generated=len(views["generated"]))
    return {
        side: views[side].first(count)
        if random_ids is None or count == len(views[side])
        else views[side].choose(count, random_ids)
        for side, count in zip(SIDES, counts, strict=True)
    }


def require_unique_samples(tasks: Sequence[MetricTask], views: Mapping[str, View]) -> None:
    """Raise RaymetricsError if a side has repeated samples and a metric does not allow them."""
    wrong = {task.metric.name for task in tasks if not task.metric.repeats_allowed}
    possible = [
        name
        for name, metric in METRICS.items()
        if metric.repeats_allowed and metric.requires_space is None
    ]
    for side, view in views.items():
        if view.repeats and wrong:
            raise RaymetricsError(
                f"the {side} samples of {view.shards.uri} were drawn with repetitions, of which "
                f"{', '.join(sorted(wrong))} cannot be computed; ask for --metrics "
                f"{','.join(possible)}"
            )


def comparable_columns(
    real: ShardSet,
    generated: ShardSet,
    extractors: Sequence[str] | None,
    columns: Sequence[str] | None,
    *,
    any_size: bool = False,
) -> list[Column]:
    """Return the columns to compare.

    SpecMismatch unless both sides made them with the same extractor, and from images of one size
    where any_size is False.
    """
    if columns:
        columns_by_name = {c.name: c for c in real.spec.columns if c in generated.spec.columns}
        for name in columns:
            if name not in columns_by_name:
                raise SpecMismatch(
                    f"column {name!r} is not in both sets; both have "
                    f"{', '.join(columns_by_name) or 'none'}"
                )
        extractors = list(dict.fromkeys(columns_by_name[name].extractor for name in columns))
    names = extractors or require_shared_extractors(real, generated)
    for name in names:
        require_same_extractor(real, generated, name, any_size=any_size)
    return [
        column
        for column in real.spec.columns
        if column in generated.spec.columns
        and (column.name in columns if columns else column.extractor in names)
    ]


def select_columns(
    shards: ShardSet, extractors: Sequence[str] | None, columns: Sequence[str] | None
) -> list[Column]:
    """Return all columns of a set, or the named ones. SpecMismatch for an unknown name."""
    kinds = (("column", columns, "name"), ("extractor", extractors, "extractor"))
    selected = list(shards.spec.columns)
    for what, wanted, attribute in kinds:
        available = dict.fromkeys(str(getattr(column, attribute)) for column in shards.spec.columns)
        for name in wanted or ():
            if name not in available:
                raise SpecMismatch(
                    f"no {what} {name!r} in {shards.uri}; it has {', '.join(available)}"
                )
        selected = [
            column for column in selected if wanted is None or getattr(column, attribute) in wanted
        ]
    return selected
