"""What is asked, looked up: metrics by name, complete shard sets, the columns that both have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics import Protocol
from raymetrics.metrics.registry import METRICS, Metric
from raymetrics.output_names import LOGITS, NOT_FEATURES
from raymetrics.shards.comparability import require_alike, require_some_shared
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.open_view import open_view
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View

SIDES = ("real", "generated")


@dataclass(frozen=True)
class Item:
    """Numbers to compute: one metric of one column, of all samples or of those with a label."""

    metric: Metric
    column: Column
    label: int | None = None


def known(names: Sequence[str]) -> list[str]:
    """The metrics in their order, without repetitions. RaymetricsError for one that is none."""
    for name in names:
        if name not in METRICS:
            raise RaymetricsError(f"no metric {name!r}; there are {', '.join(METRICS)}")
    if not names:
        raise RaymetricsError(f"no metrics are asked for; there are {', '.join(METRICS)}")
    return list(dict.fromkeys(names))


def fits(metric: Metric, column: Column, of: DatasetSpec, *, explicit: bool) -> bool:
    """Whether the metric is one of such columns; of explicit ones, features may be anything.

    of: the set that has the column.
    """
    if metric.only:
        return metric.only in (column.output, network_of(column, of).partition("-")[0])
    if metric.of_logits:
        return column.output in metric.of_logits
    return explicit or column.output not in NOT_FEATURES


def network_of(column: Column, of: DatasetSpec) -> str:
    """The published network that a column is of, whatever its extractor is called here."""
    spec = next(spec for spec in of.extractors if spec["name"] == column.extractor)
    return str(spec.get("network", column.extractor))


def require_some(items: Sequence[Item], names: Sequence[str], spaces: Sequence[Column]) -> None:
    """RaymetricsError if a metric fits none of the columns."""
    for name in names:
        if not any(item.metric.name == name for item in items):
            there = ", ".join(column.name for column in spaces)
            what = METRICS[name].only or (LOGITS if METRICS[name].of_logits else "features")
            raise RaymetricsError(f"{name} takes a column of {what}; there are {there}")


def require_measurable(
    real: ShardSet, generated: ShardSet, names: Sequence[str], columns: Sequence[str] | None
) -> None:
    """Raise what an evaluation of two such sets would, whatever samples they come to have:
    SpecMismatch unless they can be compared, RaymetricsError for a metric without a column."""
    spaces = shared_columns(real, generated, None, columns)
    explicit = bool(columns)
    items = [
        Item(METRICS[name], column)
        for name in names
        for column in spaces
        if fits(METRICS[name], column, real.spec, explicit=explicit)
    ]
    require_some(items, names, spaces)


def opened(shards: str | ShardSet) -> View:
    """The samples of a complete shard set, freshly listed, or of "SHARDS?ids=FILE"."""
    return open_view(shards if isinstance(shards, str) else shards.uri)


def viewed(
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
OF_REPEATS = ("fid", "sfid", "kid", "top1", "vendi")


def refuse_repeats(items: Sequence[Item], views: Mapping[str, View]) -> None:
    """RaymetricsError if a metric takes every sample once, and a side has some repeatedly."""
    for side, view in views.items():
        wrong = {item.metric.name for item in items} - set(OF_REPEATS)
        if view.repeats and wrong:
            raise RaymetricsError(
                f"the {side} samples of {view.shards.uri} were drawn with repetitions, of which "
                f"{', '.join(sorted(wrong))} cannot be computed; ask for --metrics "
                f"{','.join(OF_REPEATS[:4])}"
            )


def labels_of(views: Mapping[str, View]) -> dict[str, np.ndarray]:
    """The labels of both sides. SpecMismatch if they are not the same ones."""
    names = {side: view.shards.spec.label_names for side, view in views.items()}
    if all(names.values()) and names["real"] != names["generated"]:
        raise SpecMismatch(
            f"the labels 0, 1, ... of {views['real'].shards.uri} are {shortened(names['real'])}, "
            f"those of {views['generated'].shards.uri} are {shortened(names['generated'])}; both "
            "must have the same to be compared label by label"
        )
    found = {side: view.labels() for side, view in views.items()}
    of_real, of_generated = (set(np.unique(found[side]).tolist()) for side in SIDES)
    if of_real != of_generated:
        raise SpecMismatch(
            f"labels {sorted(of_real - of_generated)} are only in {views['real'].shards.uri}, "
            f"{sorted(of_generated - of_real)} only in {views['generated'].shards.uri}; both must "
            "have the same to be compared label by label"
        )
    return found


def shortened(names: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")


def shared_columns(
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
        there = {c.name: c for c in real.spec.columns if c in generated.spec.columns}
        for name in columns:
            if name not in there:
                raise SpecMismatch(
                    f"column {name!r} is not in both sets; both have {', '.join(there) or 'none'}"
                )
        extractors = list(dict.fromkeys(there[name].extractor for name in columns))
    names = extractors or require_some_shared(real, generated)
    for name in names:
        require_alike(real, generated, name, any_size=any_size)
    return [
        column
        for column in real.spec.columns
        if column in generated.spec.columns
        and (column.name in columns if columns else column.extractor in names)
    ]


def columns_of(
    shards: ShardSet, extractors: Sequence[str] | None, columns: Sequence[str] | None
) -> list[Column]:
    """The columns of one set, or those that are asked for. SpecMismatch for one that is none."""
    kinds = (("column", columns, "name"), ("extractor", extractors, "extractor"))
    found = list(shards.spec.columns)
    for what, asked, of in kinds:
        there = dict.fromkeys(str(getattr(column, of)) for column in shards.spec.columns)
        for name in asked or ():
            if name not in there:
                raise SpecMismatch(f"no {what} {name!r} in {shards.uri}; it has {', '.join(there)}")
        found = [column for column in found if asked is None or getattr(column, of) in asked]
    return found
