"""A value with its provenance: the label, the space, the convention, both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from raymetrics import sample_ranges
from raymetrics.metrics import Convention, Protocol
from raymetrics.metrics.registry import Value
from raymetrics.output_names import LOGITS
from raymetrics.provenance import environment
from raymetrics.results import Result, Side
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.shards.view import Selection, View
from raymetrics.studies.comparison import Item


def result(
    value: Value, item: Item, made_of: Sequence[DatasetSpec], sides: Mapping[str, Side],
    asked: Convention, protocol: Protocol | None, seconds: float,
) -> Result:  # fmt: skip
    """A value with its provenance. made_of: of the shard sets whose column it is, one or two."""
    column, of = item.column, made_of[0]
    spec = next(s for s in of.extractors if s["name"] == column.extractor)
    details = dict(value.details)
    if column.output == LOGITS and details:
        details["class_names"] = list(of.class_names.get(column.extractor, ()))
    kept = {**value.convention}
    kept.setdefault("resize", spec["resize"])
    if asked.name != "raymetrics":
        kept["program"] = asked.name
    if protocol:
        kept["protocol"] = protocol.name
    if item.label is not None:
        kept["label"] = item.label
    of_label = "" if item.label is None else f", label {label_name(item.label, of)}"
    kept["features"] = kept.get("features", "float32")
    return Result(
        metric=value.metric,
        label=f"{name_of(value, item, made_of)}{of_label}",
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


def label_name(label: int, of: DatasetSpec) -> str:
    """ "3", or "3 (cat)" where the labels have names."""
    return f"{label} ({of.label_names[label]})" if of.label_names else str(label)


def name_of(value: Value, item: Item, made_of: Sequence[DatasetSpec]) -> str:
    """ "FD efficientnet-lite0": what it is, and in which space. In FID's own it is FID; with
    another convention of resizing, that is said."""
    resize = fid_resize(item.column, made_of)
    if resize is not None and value.short.startswith(tuple(FID_NAMES)):
        old = value.short[:2]
        name = value.short.replace(old, FID_NAMES[old], 1)
        return name if resize == "tf1-bilinear" else f"{name} ({resize})"
    column = item.column
    usual = (LOGITS,) if item.metric.of_logits else ("pre_logits", "features")
    space = column.extractor if column.output in usual else f"{column.extractor} {column.output}"
    return f"{value.short} {space}"


FID_NAMES = {"FD": "FID", "KD": "KID"}


def fid_resize(column: Column, made_of: Sequence[DatasetSpec]) -> str | None:
    """The resize convention, if the column is of the network that defines FID (Heusel et al.
    2017), with its published weights; else None.

    Both sides have the same tensors, so that one file that was published vouches for both.
    """
    spec = next(s for s in made_of[0].extractors if s["name"] == column.extractor)
    files = [of.files.get(column.extractor, {}) for of in made_of]
    fid = (
        spec.get("network") == "inception"
        and column.output == "pre_logits"
        and spec["precision"] == "float32"
        and any(file.get("published") for file in files)
    )
    return str(spec["resize"]) if fid else None


def side_of(view: View, count: int) -> Side:
    """What a result keeps of the samples of a set."""
    shards, chosen = view.shards, view.samples
    return Side(
        uri=shards.store.absolute_uri,
        source=shards.spec.source,
        samples=() if isinstance(chosen, Selection) else tuple(map(sample_ranges.describe, chosen)),
        count=count,
        fingerprint=shards.spec.fingerprint,
        digest=shards.digest,
        made_by={name: (shards.seal or {}).get(name) for name in ("devices", "sealed_by")},
        selection={"file": chosen.file, "digest": chosen.digest}
        if isinstance(chosen, Selection)
        else {},
        image_size=shards.spec.image_size,
    )
