"""Results from values: the label, the space, the convention and both sides are added."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from raymetrics import sample_ranges
from raymetrics.generators.source_settings import parse_setting
from raymetrics.metrics import Convention, Protocol
from raymetrics.metrics.metric import MetricValue
from raymetrics.metrics.sampling_errors import make_interval
from raymetrics.option_strings import format_options
from raymetrics.output_names import LOGITS, SCORES
from raymetrics.provenance import software_environment
from raymetrics.results import Result, Side
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.shards.view import Selection, View
from raymetrics.studies.comparison import MetricTask
from raymetrics.studies.subsets import SIDES, Subset


def make_result(
    value: MetricValue,
    task: MetricTask,
    dataset_specs: Sequence[DatasetSpec],
    sides: Mapping[str, Side],
    convention: Convention,
    protocol: Protocol | None,
    seconds: float,
    warnings: tuple[str, ...] = (),
) -> Result:
    """Make the result of a value. dataset_specs: of the shard sets that have the column, 1 or 2."""
    column, dataset_spec = task.column, dataset_specs[0]
    spec = next(s for s in dataset_spec.extractors if s["name"] == column.extractor)
    details = dict(value.details)
    if column.output == LOGITS and details:
        details["class_names"] = list(dataset_spec.class_names.get(column.extractor, ()))
    convention_fields = {**value.convention}
    convention_fields.setdefault("resize", spec["resize"])
    if convention.name != "raymetrics":
        convention_fields["program"] = convention.name
    if convention.changes and (protocol or convention.name != "raymetrics"):
        convention_fields["changed"] = ", ".join(convention.changes)
    if protocol:
        convention_fields["protocol"] = protocol.name
        if protocol.images:
            convention_fields["images"] = ", ".join(protocol.images.options.values())
    if task.metric.chosen_settings:
        convention_fields["settings"] = format_options("", task.metric.chosen_settings)[1:]
    interval = make_interval(value.value, value.errors, value.bounds)
    subset = task.subset
    convention_fields |= subset.convention_fields if subset else {}
    short_name, space_name = measure_names(value, task, dataset_specs)
    convention_fields["features"] = convention_fields.get("features", "float32")
    return Result(
        metric=value.metric,
        label=", ".join(
            filter(None, (f"{short_name} {space_name}".rstrip(), subset.title if subset else ""))
        ),
        value=value.value,
        spread=value.spread,
        better=str(spec.get("better", value.better)),
        space={**spec, "output": column.output, "dimension": column.dimension},
        convention={**convention_fields, "arithmetic": "float64"},
        real=sides["real"],
        generated=sides["generated"],
        provenance={**software_environment(), **_user_code(task)},
        seconds=seconds,
        details=details,
        short_name=short_name,
        space_name=space_name,
        subset=dict(subset.fields) if subset else {},
        setting=parse_setting(sides["generated"].source),
        warnings=warnings,
        interval={} if interval is None else asdict(interval),
        errors=value.errors,
    )


def _user_code(task: MetricTask) -> dict[str, Any]:
    """Return the provenance of a metric that the user wrote; nothing for one of the package."""
    return {"metric": dict(task.metric.user_code)} if task.metric.user_code else {}


def measure_names(
    value: MetricValue, task: MetricTask, dataset_specs: Sequence[DatasetSpec]
) -> tuple[str, str]:
    """Return the short names of the metric and of the space: "FD" and "efficientnet-lite0".

    A distance in the space that defines FID is called "FID", and the space has no name; another
    convention of resizing stands in its place: "(pil-bicubic)".
    """
    resize = _fid_resize_convention(task.column, dataset_specs)
    is_own = not task.metric.user_code
    if resize is not None and is_own and _DISTANCE.match(value.short_name):
        name = _DISTANCE.sub(lambda m: _FID_NAMES[m[0]], value.short_name, count=1)
        return name, "" if resize == "tf1-bilinear" else f"({resize})"
    column = task.column
    usual = ("pre_logits", "features", *SCORES)
    default_outputs = (LOGITS,) if task.metric.logits_outputs else usual
    space = (
        column.extractor
        if column.output in default_outputs
        else f"{column.extractor} {column.output}"
    )
    return value.short_name, space


_FID_NAMES = {"FD": "FID", "KD": "KID", "MiFD": "MiFID"}
_DISTANCE = re.compile(rf"^({'|'.join(_FID_NAMES)})\b")  # at the start; not in "FDr"


def _fid_resize_convention(column: Column, dataset_specs: Sequence[DatasetSpec]) -> str | None:
    """Return the way of resizing, if the column is in the space that defines FID; else None.

    The space is that of the Inception network with its published weights (Heusel et al. 2017).
    Both sides have the same tensors, so a published file on one side is enough.
    """
    spec = next(s for s in dataset_specs[0].extractors if s["name"] == column.extractor)
    files = [dataset_spec.files.get(column.extractor, {}) for dataset_spec in dataset_specs]
    fid = (
        spec.get("network") == "inception"
        and column.output == "pre_logits"
        and spec["precision"] == "float32"
        and any(file.get("published") for file in files)
    )
    return str(spec["resize"]) if fid else None


def sides_of_subset(views: Mapping[str, View], subset: Subset) -> dict[str, Side]:
    """Return both sides of a result, with the counts of the subset."""
    return {side: side_from_view(views[side], len(subset.samples.for_side(side))) for side in SIDES}


def side_from_view(view: View, count: int) -> Side:
    """Return what a result keeps about the samples of a set."""
    shards, samples = view.shards, view.samples
    return Side(
        uri=shards.store.absolute_uri,
        source=shards.spec.source,
        samples=()
        if isinstance(samples, Selection)
        else tuple(map(sample_ranges.format_range, samples)),
        count=count,
        fingerprint=shards.spec.fingerprint,
        digest=shards.digest,
        made_by={name: (shards.seal or {}).get(name) for name in ("devices", "sealed_by")},
        selection={"file": samples.file, "digest": samples.digest}
        if isinstance(samples, Selection)
        else {},
        image_size=shards.spec.image_size,
    )
