"""What is asked, looked up: metrics by name, complete shard sets, the columns that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError, SpecMismatch
from raymetrics.metrics import Protocol
from raymetrics.metrics.registry import METRICS, Metric
from raymetrics.output_names import LOGITS, NOT_FEATURES
from raymetrics.python_arguments import ARRAYS_HINT, require_text
from raymetrics.shards.comparability import require_same_extractor, require_shared_extractors
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View

SIDES = ("real", "generated")


@dataclass(frozen=True)
class MetricTask:
    """Numbers to compute: one metric of one column, of all samples or of those with a label."""

    metric: Metric
    column: Column
    label: int | None = None


def resolve_metrics(names: Sequence[str]) -> list[str]:
    """The metrics in their order, without repetitions. RaymetricsError for one that is none."""
    for name in names:
        if name not in METRICS:
            raise RaymetricsError(f"no metric {name!r}; there are {', '.join(METRICS)}")
    if not names:
        raise RaymetricsError(f"no metrics are asked for; there are {', '.join(METRICS)}")
    return list(dict.fromkeys(names))


def metric_applies(
    metric: Metric, column: Column, dataset_spec: DatasetSpec, *, explicit: bool
) -> bool:
    """Whether the metric is one of such columns; of explicit ones, features may be anything.

    of: the set that has the column.
    """
    if metric.requires_space:
        return metric.requires_space in (
            column.output,
            _network_name(column, dataset_spec).partition("-")[0],
        )
    if metric.logits_outputs:
        return column.output in metric.logits_outputs
    return explicit or column.output not in NOT_FEATURES


def _network_name(column: Column, dataset_spec: DatasetSpec) -> str:
    """The published network that a column is of, whatever its extractor is called here."""
    spec = next(spec for spec in dataset_spec.extractors if spec["name"] == column.extractor)
    return str(spec.get("network", column.extractor))


def require_applicable(
    tasks: Sequence[MetricTask], names: Sequence[str], spaces: Sequence[Column]
) -> None:
    """RaymetricsError if a metric fits none of the columns."""
    for name in names:
        if not any(task.metric.name == name for task in tasks):
            column_names = ", ".join(column.name for column in spaces)
            what = METRICS[name].requires_space or (
                LOGITS if METRICS[name].logits_outputs else "features"
            )
            raise RaymetricsError(f"{name} takes a column of {what}; there are {column_names}")


def require_measurable(
    real: ShardSet, generated: ShardSet, names: Sequence[str], columns: Sequence[str] | None
) -> None:
    """Raise what an evaluation of two such sets would, whatever samples they come to have:
    SpecMismatch unless they can be compared, RaymetricsError for a metric without a column."""
    spaces = comparable_columns(real, generated, None, columns)
    explicit = bool(columns)
    tasks = [
        MetricTask(METRICS[name], column)
        for name in names
        for column in spaces
        if metric_applies(METRICS[name], column, real.spec, explicit=explicit)
    ]
    require_applicable(tasks, names, spaces)


def set_uri(side: str, shards: object) -> str:
    """Return the text that names a shard set. Raise ShardError for anything else, as for arrays."""
    if isinstance(shards, ShardSet):
        return shards.uri
    expected = "the path or URI of a shard set"
    return require_text(side, shards, ShardError, expected=expected, instead=ARRAYS_HINT)


def open_as_view(shards: str | ShardSet) -> View:
    """The samples of a complete shard set, freshly listed, or of "SHARDS?ids=FILE"."""
    return open_view(shards if isinstance(shards, str) else shards.uri)


def take_samples(
    views: Mapping[str, View], protocol: Protocol | None, samples: int | None
) -> dict[str, View]:
    """The samples of a protocol, the first so many, or all. NotEnoughData if there are fewer."""
    if protocol is None:
        for name, view in views.items():
            if samples is not None and not 1 <= samples <= len(view):
                raise NotEnoughData(
                    f"the first {samples} samples are asked for, {view.shards.uri} has {len(view)} "
                    f"{name} ones; ask for 1 to {len(view)}, or extract more"
                )
        return {
            side: view if samples is None else view.first(samples) for side, view in views.items()
        }
    counts = protocol.counts(real=len(views["real"]), generated=len(views["generated"]))
    return {side: views[side].first(count) for side, count in zip(SIDES, counts, strict=True)}


# Of samples that were drawn repeatedly; the others would find a copy as the nearest neighbour.
_REPEATABLE_METRICS = ("fid", "sfid", "kid", "top1", "vendi")


def require_unique_samples(tasks: Sequence[MetricTask], views: Mapping[str, View]) -> None:
    """RaymetricsError if a metric takes every sample once, and a side has some repeatedly."""
    for side, view in views.items():
        wrong = {task.metric.name for task in tasks} - set(_REPEATABLE_METRICS)
        if view.repeats and wrong:
            raise RaymetricsError(
                f"the {side} samples of {view.shards.uri} were drawn with repetitions, of which "
                f"{', '.join(sorted(wrong))} cannot be computed; ask for --metrics "
                f"{','.join(_REPEATABLE_METRICS[:4])}"
            )


def read_labels(views: Mapping[str, View]) -> dict[str, np.ndarray]:
    """The labels of both sides. SpecMismatch if they are not the same ones."""
    names = {side: view.shards.spec.label_names for side, view in views.items()}
    if all(names.values()) and names["real"] != names["generated"]:
        raise SpecMismatch(
            f"the labels 0, 1, ... of {views['real'].shards.uri} are {_first_names(names['real'])}, "
            f"those of {views['generated'].shards.uri} are {_first_names(names['generated'])}; both "
            "must have the same to be compared label by label"
        )
    labels = {side: view.labels() for side, view in views.items()}
    real_labels, generated_labels = (set(np.unique(labels[side]).tolist()) for side in SIDES)
    if real_labels != generated_labels:
        raise SpecMismatch(
            f"labels {sorted(real_labels - generated_labels)} are only in {views['real'].shards.uri}, "
            f"{sorted(generated_labels - real_labels)} only in {views['generated'].shards.uri}; both must "
            "have the same to be compared label by label"
        )
    return labels


def _first_names(names: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def comparable_columns(
    real: ShardSet,
    generated: ShardSet,
    extractors: Sequence[str] | None,
    columns: Sequence[str] | None,
    *,
    any_size: bool = False,
) -> list[Column]:
    """The columns to compare. SpecMismatch unless they were made alike on both sides, and of images
    of one size unless any will do."""
    if columns:
        columns_by_name = {c.name: c for c in real.spec.columns if c in generated.spec.columns}
        for name in columns:
            if name not in columns_by_name:
                raise SpecMismatch(
                    f"column {name!r} is not in both sets; both have {', '.join(columns_by_name) or 'none'}"
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
    """The columns of one set, or those that are asked for. SpecMismatch for one that is none."""
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
