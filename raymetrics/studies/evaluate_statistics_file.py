"""The Frechet distance between a shard set and a file of statistics."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raymetrics.distributed.choose_executor import SMALL_FEATURE_BYTES, runs_in_process
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics import PUBLISHED, Protocol
from raymetrics.metrics.influences import InfluenceRows
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.registry import METRICS
from raymetrics.metrics.required_statistics import FeatureMoments, SampleIds
from raymetrics.metrics.sampling_errors import SamplingErrors
from raymetrics.output_names import SPATIAL
from raymetrics.results import Result, Side
from raymetrics.shards.foreign import ReferenceStatistics
from raymetrics.shards.foreign.statistics_files import SPATIAL_MU_SIGMA
from raymetrics.shards.layout import comparable_fields, differences
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, FeatureRows, Moments
from raymetrics.studies.comparison import (
    MetricTask,
    columns_of_metric,
    columns_of_protocol,
    select_columns,
    take_count,
)
from raymetrics.studies.evaluate_shards import EvaluationRequest
from raymetrics.studies.extract_sides import OpenSide
from raymetrics.studies.make_result import make_result, side_from_view
from raymetrics.studies.number_errors import require_enough_for_interval
from raymetrics.studies.result_warnings import Facts, SideFacts, find_warnings
from raymetrics.studies.subsets import SIDES
from raymetrics.studies.validation_norms import bind_validation, require_published_norms

_MOMENT_METRICS = [name for name, metric in METRICS.items() if metric.moments_suffice]


@dataclass(frozen=True)
class _ColumnMatch:
    """A task, and the part of the file that has the space of its column."""

    task: MetricTask
    file_part: str


def evaluate_with_statistics(
    sides: Mapping[str, OpenSide], request: EvaluationRequest, *, announce: bool = True
) -> list[Result]:
    """Evaluate a view of shards and statistics of another program, in either order.

    The covariance of the file is taken as it is; `request.convention.ddof` applies to the shards.
    The column is the one that the file was exported from, or the only one of the file's dimension.
    announce: whether a choice of this process over Ray is logged.
    """
    is_real = isinstance(sides["real"], ReferenceStatistics)
    file_side, shards_side = SIDES if is_real else SIDES[::-1]
    reference, whole_view = sides[file_side], sides[shards_side]
    assert isinstance(reference, ReferenceStatistics)
    if isinstance(whole_view, ReferenceStatistics):
        raise RaymetricsError(
            f"{reference.uri} and {whole_view.uri} are files of statistics both; one side must be "
            "a shard set, a source of images, or features as 'FILE.npz?space=NAME'"
        )
    convention, protocol, columns = request.convention, request.protocol, request.columns
    moment_metrics = require_moment_metrics(request, reference)
    shards = whole_view.shards
    view = _view_for_protocol(
        reference, file_side, whole_view, shards_side, protocol, request.random_ids
    )
    if len(view) <= convention.ddof:
        raise NotEnoughData(
            f"a covariance takes at least {convention.ddof + 1} samples, {shards.uri} has "
            f"{len(view)}; extract more"
        )
    if protocol is not None and protocol.spaces:
        raise RaymetricsError(
            f"{protocol.name} takes {len(protocol.spaces)} spaces, {reference.uri} is of one; give "
            "a shard set or a source with all of them"
        )
    candidate_columns = columns_of_protocol(
        protocol, select_columns(shards, request.space_names, columns)
    )
    column_matches = [
        column_match
        for metric in moment_metrics
        for column_match in _match_columns(
            metric, candidate_columns, bool(columns), reference, shards
        )
    ]
    if request.validation == PUBLISHED:
        require_published_norms([column_match.task for column_match in column_matches])
    task_columns = [column_match.task.column for column_match in column_matches]
    with session(local=_computes_in_process(view, task_columns, request.local, announce)):
        moments = _moments_by_column(view, task_columns)
        tasks = bind_validation(
            [column_match.task for column_match in column_matches],
            request.validation,
            shards,
            any_size=request.any_size,
        )
    result_sides = {
        file_side: _side_from_file(reference),
        shards_side: side_from_view(view, len(view)),
    }
    # The network of a foreign file is unknown, so the distance is not called FID.
    dataset_spec = shards.spec if reference.origin else replace(shards.spec, files={})
    results = []
    for column_match, task in zip(column_matches, tasks, strict=True):
        start = time.monotonic()
        fitted: dict[str, Any] = {
            file_side: {"moments": reference.gaussians[column_match.file_part]},
            shards_side: {"moments": moments[column_match.task.column.name]},
        }
        compute = task.metric.compute
        assert compute is not None  # as moments are enough for the metric
        (value,) = compute(fitted["real"], fitted["generated"], _NO_SAMPLES, convention)
        value = replace(
            value,
            convention={**value.convention, **_file_fields(reference, column_match.file_part)},
        )
        seconds = time.monotonic() - start
        if request.intervals:
            errors = _errors_of_shards(view, column_match, value, shards_side, request.local)
            value = replace(value, errors=errors)
        results.append(
            make_result(
                value,
                column_match.task,
                [dataset_spec],
                result_sides,
                convention,
                protocol,
                seconds,
                find_warnings(
                    Facts(
                        column_match.task.metric,
                        column_match.task.column,
                        convention,
                        **{file_side: SideFacts(reference), shards_side: SideFacts(view)},
                    )
                ),
            )
        )
    return results


_NO_SAMPLES = SampleIds(real=np.empty(0, np.int64), generated=np.empty(0, np.int64))


def require_moment_metrics(
    request: EvaluationRequest, reference: ReferenceStatistics
) -> Sequence[Metric]:
    """Return the metrics. RaymetricsError for one that takes more than a mean and a covariance."""
    if not request.is_explicit:
        return [METRICS["fid"]]
    impossible = [metric.name for metric in request.metrics if not metric.moments_suffice]
    if impossible:
        raise RaymetricsError(
            f"{', '.join(impossible)} cannot be computed from {reference.uri}, which holds a mean "
            f"and a covariance and no features; ask for {' or '.join(_MOMENT_METRICS)}, or give "
            "shards on both sides"
        )
    return request.metrics


def _view_for_protocol(
    reference: ReferenceStatistics,
    file_side: str,
    whole_view: View,
    shards_side: str,
    protocol: Protocol | None,
    random_ids: int | None,
) -> View:
    """Take the samples of the shards; random ones by the seed, if there is one.

    NotEnoughData if the file has another number of samples than the protocol asks for.
    """
    if protocol is None:
        return whole_view
    if reference.ddof not in (None, protocol.convention.ddof):
        raise SpecMismatch(
            f"{protocol.name} divides covariances by count - {protocol.convention.ddof}, "
            f"{reference.uri} was exported with ddof {reference.ddof}; export it again"
        )
    expected_count = protocol.real if file_side == "real" else protocol.generated
    if expected_count is not None and reference.count != expected_count:
        raise NotEnoughData(
            f"{protocol.name} takes {expected_count} {file_side} samples, {reference.uri} is of "
            f"{reference.count or 'an unknown number'}; evaluate without a protocol"
        )
    counts = protocol.counts(**{file_side: reference.count or 1, shards_side: len(whole_view)})
    count = dict(zip(SIDES, counts, strict=True))[shards_side]
    return take_count(whole_view, count, protocol.seed if random_ids is None else random_ids)


def _match_columns(
    metric: Metric,
    columns: Sequence[Column],
    explicit: bool,
    reference: ReferenceStatistics,
    shards: ShardSet,
) -> list[_ColumnMatch]:
    """Match columns with parts of the file that have the same space, as far as it is known.

    SpecMismatch if there is no match, or if several are possible.
    """
    file_parts = [
        file_part
        for file_part in reference.gaussians
        if (file_part == SPATIAL_MU_SIGMA) == (metric.requires_space == SPATIAL)
    ]
    if not file_parts:
        raise RaymetricsError(
            f"{metric.name} takes {SPATIAL_MU_SIGMA}, {reference.uri} holds "
            f"{', '.join(reference.gaussians)}; leave it out of --metrics"
        )
    fitting = columns_of_metric(metric, columns, shards.spec, explicit=explicit)
    if reference.origin:
        return [
            _ColumnMatch(
                MetricTask(metric, _exported_column(fitting, reference, shards)), file_parts[0]
            )
        ]
    size = {file_part: len(reference.gaussians[file_part].mean) for file_part in file_parts}
    pairs = [
        (c, file_part)
        for file_part in file_parts
        for c in fitting
        if c.dimension == size[file_part]
    ]
    if not pairs:
        wants = ", ".join(f"{file_part} of {d} dimensions" for file_part, d in size.items())
        raise SpecMismatch(
            f"{reference.uri} holds {wants}, {shards.uri} has {_format_columns(fitting)}; extract "
            "with the network that the file was made with"
        )
    for part in ([c.name for c, _ in pairs], [file_part for _, file_part in pairs]):
        if len(set(part)) < len(part):
            either = ", ".join(f"{column.name} with {file_part}" for column, file_part in pairs)
            raise SpecMismatch(
                f"several columns of {shards.uri} and parts of {reference.uri} have the same "
                f"dimension ({either}), and the file does not say which was meant; choose with "
                "--column"
            )
    return [_ColumnMatch(MetricTask(metric, column), file_part) for column, file_part in pairs]


def _format_columns(columns: Sequence[Column]) -> str:
    """Format columns as "a_pre_logits (1280), b_pre_logits (64)"."""
    return ", ".join(f"{c.name} ({c.dimension})" for c in columns) or "no such column"


def _exported_column(
    columns: Sequence[Column], reference: ReferenceStatistics, shards: ShardSet
) -> Column:
    """Return the column that a file was exported from. SpecMismatch for another extractor."""
    made_of = reference.origin or {}
    spec = {str(spec["name"]): spec for spec in shards.spec.extractors}
    for column in columns:
        if column.name == made_of["column"]:
            fields = differences(
                comparable_fields(made_of["extractor"]), comparable_fields(spec[column.extractor])
            )
            if fields:
                raise SpecMismatch(
                    f"{column.name} of {reference.uri} and of {shards.uri} were made differently "
                    f"({'; '.join(fields).replace('asked for', 'in the shards')}); extract both "
                    "alike"
                )
            return column
    raise SpecMismatch(
        f"{reference.uri} was exported from {made_of['column']}, {shards.uri} has "
        f"{_format_columns(columns)}; extract both with the same network, or name the column"
    )


def _moments_by_column(view: View, columns: Sequence[Column]) -> Mapping[str, Moments]:
    """Fold the moments of every column, in one pass over the shards."""
    measures = {column.name: ColumnStatistic(column.name, FeatureMoments()) for column in columns}
    return fold_shards(view, measures, sum(8 * column.dimension**2 for column in columns))


def _computes_in_process(
    view: View, columns: Sequence[Column], local: bool | None, announce: bool
) -> bool:
    """Return whether this process folds the moments, as the features are few."""
    size = sum(4 * column.dimension * len(view) for column in columns)
    work = f"{len(view)} samples" if announce else ""
    return runs_in_process(local, small=size <= SMALL_FEATURE_BYTES, work=work)


def _errors_of_shards(
    view: View, column_match: _ColumnMatch, value: MetricValue, side: str, local: bool | None
) -> dict[str, SamplingErrors]:
    """Return the errors that the sampling of the shards gives; the file has no samples."""
    if value.influences is None:
        return {}
    require_enough_for_interval(column_match.task.metric, view, len(view), side)
    column = column_match.task.column
    influence = value.influences()[side]
    assert not isinstance(influence, FeatureRows)  # as the metric takes moments
    measures = {side: ColumnStatistic(column.name, InfluenceRows(influence))}
    small = 4 * column.dimension * len(view) <= SMALL_FEATURE_BYTES
    with session(local=runs_in_process(local, small=small, work="")):
        rows = fold_shards(view, measures)[side]
    return {side: SamplingErrors.from_influences(rows.sample_ids, rows.features[:, 0])}


def _side_from_file(reference: ReferenceStatistics) -> Side:
    """Return what a result keeps about a file."""
    return Side(
        uri=reference.uri,
        source=reference.uri.rpartition("/")[2],
        samples=(),
        count=reference.count,
        fingerprint="not stated by the file",
        digest=reference.sha256,
        made_by={"layout": reference.layout, **(reference.origin or {})},
    )


def _file_fields(reference: ReferenceStatistics, file_part: str) -> dict[str, Any]:
    """Return what the file states about its statistics, and what it does not, for a result."""
    fields = {
        "reference": reference.uri.rpartition("/")[2],
        "reference_layout": reference.layout,
        "reference_part": file_part,
        "reference_sha256": reference.sha256,
        "reference_count": reference.count or "not stated by the file",
        "reference_ddof": "as in the file: 1 in most programs, 0 in NVIDIA's StyleGANs"
        if reference.ddof is None
        else reference.ddof,
    }
    return fields if reference.origin else {**fields, "resize": "not stated by the file"}
