"""A value with its provenance: the label, the space, the convention, both sides."""

from __future__ import annotations

from collections.abc import Mapping

from raymetrics import ranges
from raymetrics.evaluation.catalogue import LOGITS, Value
from raymetrics.evaluation.selection import Item
from raymetrics.metrics import Convention, Protocol
from raymetrics.provenance import environment
from raymetrics.results import Result, Side
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.view import View


def result(
    value: Value, item: Item, of: DatasetSpec, sides: Mapping[str, Side], asked: Convention,
    protocol: Protocol | None, seconds: float,
) -> Result:  # fmt: skip
    """A value with its provenance. of: what the shards were made from whose column it is."""
    column = item.column
    spec = next(s for s in of.extractors if s["name"] == column.extractor)
    details = dict(value.details)
    if column.output == LOGITS and details:
        details["class_names"] = list(of.class_names.get(column.extractor, ()))
    kept = {**value.convention}
    if asked.name != "raymetrics":
        kept["program"] = asked.name
    if protocol:
        kept["protocol"] = protocol.name
    if item.label is not None:
        kept["label"] = item.label
    of_label = "" if item.label is None else f", label {item.label}"
    kept["features"] = kept.get("features", "float32")
    return Result(
        metric=value.metric,
        label=f"{value.short} {space_name(item, spec)}{of_label}",
        value=value.value,
        spread=value.spread,
        better=value.better,
        space={**spec, "output": column.output, "dimension": column.dimension},
        convention={**kept, "arithmetic": "float64"},
        real=sides["real"],
        generated=sides["generated"],
        provenance=environment(),
        seconds=seconds,
        details=details,
    )


def space_name(item: Item, spec: Mapping[str, object]) -> str:
    """The extractor, and the column's output where it is not the usual one.

    spec: the extractor's, of the set that the column is from.
    """
    column = item.column
    usual = item.metric.of_logits or column.output == "pre_logits"
    return column.extractor if usual else f"{column.extractor} {column.output}"


def side_of(view: View, count: int) -> Side:
    """What a result keeps of the samples of a set."""
    shards = view.shards
    return Side(
        uri=shards.store.absolute_uri,
        source=shards.spec.source,
        samples=tuple(map(ranges.describe, view.samples)),
        count=count,
        fingerprint=shards.spec.fingerprint,
        digest=shards.digest,
        made_by={name: (shards.seal or {}).get(name) for name in ("devices", "sealed_by")},
    )
