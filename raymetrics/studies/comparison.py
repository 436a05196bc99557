"""The comparison of two shard sets: their samples, common columns, and the tasks of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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
    sides: tuple[str, ...] = SIDES  # that have the column


def metric_applies(
    metric: Metric, column: Column, dataset_spec: DatasetSpec, *, explicit: bool
) -> bool:
    """Tell whether the metric takes a column of a shard set.

    explicit: the user named the column, so it counts as features whatever its output is.
    """
    network = _network_name(column, dataset_spec)
    return metric.applies_to(column.output, network, explicit=explicit)


def columns_of_metric(
    metric: Metric, columns: Sequence[Column], dataset_spec: DatasetSpec, *, explicit: bool
) -> list[Column]:
    """Return the columns that a metric takes; of a bound one, "pr:vgg16", those of its space.

    explicit: as in `metric_applies`. RaymetricsError if no column, or several, can be meant.
    """
    if metric.space is not None:
        columns = find_space(metric.space, columns)
        names_column = columns[0].name.startswith(_column_name(metric.space))
        explicit = explicit or (len(columns) == 1 and names_column)
    return [c for c in columns if metric_applies(metric, c, dataset_spec, explicit=explicit)]


def find_space(space: str, columns: Sequence[Column]) -> list[Column]:
    """Return the column of this name, or the columns of the extractor of this name.

    The beginning of a name is enough, if no other extractor, or else no other column, begins so.
    RaymetricsError, with what there is, if none or several do.
    """
    extractors = list(dict.fromkeys(column.extractor for column in columns))
    by_name = {column.name: [column] for column in columns}
    by_extractor = {e: [c for c in columns if c.extractor == e] for e in extractors}
    for spaces, name in ((by_name, _column_name(space)), (by_extractor, space)):
        if name in spaces:
            return spaces[name]
    for spaces, start in ((by_extractor, space), (by_name, _column_name(space))):
        near = [name for name in spaces if name.startswith(start)]
        if len(near) == 1:
            return spaces[near[0]]
        if near:
            raise RaymetricsError(f"{space!r} may be {' or '.join(near)}; write one of these")
    raise RaymetricsError(
        f"there is no space {space!r}; there are the extractors {', '.join(extractors)} and the "
        f"columns {', '.join(by_name)}"
    )


def _column_name(space: str) -> str:
    return space.replace("-", "_")


def plan_metrics(
    metrics: Sequence[Metric],
    columns: Sequence[Column],
    dataset_spec: DatasetSpec,
    subsets: Sequence[Subset | None],
    *,
    explicit: bool,
) -> list[MetricTask]:
    """Return the tasks, by subset, column and metric, each once."""
    taken = {
        metric.text: columns_of_metric(metric, columns, dataset_spec, explicit=explicit)
        for metric in metrics
    }
    pairs = [(c, metric) for c in columns for metric in metrics if c in taken[metric.text]]
    unique_pairs = {(column.name, metric.variant): (column, metric) for column, metric in pairs}
    return [
        MetricTask(metric, column, subset)
        for subset in subsets
        for column, metric in unique_pairs.values()
    ]


def _network_name(column: Column, dataset_spec: DatasetSpec) -> str:
    """Return the published network of a column, whatever its extractor is called in this set."""
    spec = next(spec for spec in dataset_spec.extractors if spec["name"] == column.extractor)
    return str(spec.get("network", column.extractor))


def plan_generated_metrics(
    metrics: Sequence[Metric],
    columns: Sequence[Column],
    dataset_spec: DatasetSpec,
    subsets: Sequence[Subset | None],
) -> list[MetricTask]:
    """Return the tasks of columns that the real side lacks, of metrics for which that suffices."""
    alone = [m for m in metrics if m.generated_suffices and m.space is None]
    tasks = plan_metrics(alone, columns, dataset_spec, subsets, explicit=False)
    return [replace(task, sides=(SIDES[1],)) for task in tasks]


def require_applicable(
    tasks: Sequence[MetricTask], metrics: Sequence[Metric], spaces: Sequence[Column]
) -> None:
    """Raise RaymetricsError if one of the metrics takes none of the columns."""
    for metric in metrics:
        if not any(task.metric.variant == metric.variant for task in tasks):
            column_names = ", ".join(column.name for column in spaces)
            raise RaymetricsError(
                f"{metric.text} takes a column of {metric.column_kind}; there are {column_names}"
            )


def columns_of_protocol(protocol: Protocol | None, columns: Sequence[Column]) -> list[Column]:
    """Return the columns that a protocol takes: those of its spaces, or of its dimension.

    SpecMismatch if a space, or a column of the dimension, is not there.
    """
    if protocol is None or not (protocol.spaces or protocol.dimension):
        return list(columns)
    names = {column.extractor for column in columns}
    missing = [space for space in protocol.spaces if space not in names]
    if missing:
        raise SpecMismatch(
            f"{protocol.name} takes the spaces {', '.join(protocol.spaces)}; not both sides have "
            f"{', '.join(missing)}: extract with --extractor {','.join(protocol.spaces)}"
        )
    if protocol.spaces:
        return [column for column in columns if column.extractor in protocol.spaces]
    fitting = [column for column in columns if column.dimension == protocol.dimension]
    if not fitting:
        sizes = ", ".join(f"{column.name} ({column.dimension})" for column in columns)
        raise SpecMismatch(
            f"{protocol.name} takes {protocol.features}, {protocol.dimension} numbers each; there "
            f"are {sizes}"
        )
    return fitting


def require_spaces_once(protocol: Protocol | None, tasks: Sequence[MetricTask]) -> None:
    """Raise SpecMismatch if a protocol of several spaces has two columns of one of them."""
    if protocol is None or not protocol.spaces:
        return
    for space in protocol.spaces:
        names = {task.column.name: None for task in tasks if task.column.extractor == space}
        if len(names) > 1:
            raise SpecMismatch(
                f"{protocol.name} takes one column of {space}, there are {', '.join(names)}; name "
                "those that are meant with --column"
            )


def require_measurable(
    real: ShardSet, generated: ShardSet, metrics: Sequence[Metric], columns: Sequence[str] | None
) -> None:
    """Raise the errors of an evaluation of two sets that do not depend on their samples.

    SpecMismatch unless the sets can be compared, RaymetricsError for a metric without a column.
    """
    require_no_validation(metrics)
    spaces = comparable_columns(real, generated, None, columns)
    tasks = plan_metrics(metrics, spaces, real.spec, [None], explicit=bool(columns))
    require_applicable(tasks, metrics, spaces)


def require_no_validation(metrics: Sequence[Metric]) -> None:
    """Raise RaymetricsError for a metric that takes a validation set, where there can be none."""
    for metric in metrics:
        if metric.takes_validation:
            raise RaymetricsError(
                f"{metric.name} takes a validation set, which only evaluate has; leave it out"
            )


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

    random_ids: the seed by which a protocol's samples are chosen; by default the protocol's.
    """
    if protocol is None:
        return views
    counts = protocol.counts(real=len(views["real"]), generated=len(views["generated"]))
    seed = protocol.seed if random_ids is None else random_ids
    return {
        side: take_count(views[side], count, seed)
        for side, count in zip(SIDES, counts, strict=True)
    }


def take_count(view: View, count: int, seed: int | None) -> View:
    """Return so many samples: random ones by a seed, or the first; all, if there are no more."""
    if seed is None or count == len(view):
        return view.first(count)
    return view.choose(count, seed)


def cut_to_equal_counts(views: Mapping[str, View], seed: int) -> dict[str, View]:
    """Return both sides with the count of the smaller one; of the larger side random samples.

    Precision and recall are defined for equal counts (Kynkaanniemi et al. 2019, section 2).
    """
    smaller_count = min(map(len, views.values()))
    return {side: take_count(view, smaller_count, seed) for side, view in views.items()}


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
