"""The norms of FDr: of a validation set, or published ones; and the mean of the ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from raymetrics.distributed.fold import fold_shards
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.metrics import FDR6_SPACES, PUBLISHED, PUBLISHED_NORMS, Norm
from raymetrics.metrics.frechet_ratio import PUBLISHED_IN
from raymetrics.metrics.metric import Metric, MetricValue
from raymetrics.metrics.registry.frechet_metrics import NO_VALIDATION
from raymetrics.metrics.required_statistics import FeatureMoments
from raymetrics.metrics.sampling_errors import SamplingErrors, make_interval
from raymetrics.results import Result
from raymetrics.shards.comparability import require_same_extractor
from raymetrics.shards.foreign import ReferenceStatistics
from raymetrics.shards.schema import Column
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic, Moments
from raymetrics.studies.comparison import MetricTask
from raymetrics.studies.extract_sides import OpenSide, SourceSide
from raymetrics.studies.make_result import side_from_view
from raymetrics.studies.open_sides import open_side

VALIDATION = "validation"  # the name of the side
Validation = View | Literal["published"] | None
_RATIO = "frechet_ratio"


def require_validation(
    metrics: Sequence[Metric], validation: object, *, by: str | None, under: str | None
) -> None:
    """Raise RaymetricsError for a metric that lacks a validation set, or a set that none takes."""
    takers = [metric.name for metric in metrics if metric.takes_validation]
    if takers and validation is None:
        raise RaymetricsError(NO_VALIDATION)
    if validation is not None and not takers:
        names = ", ".join(metric.name for metric in metrics)
        raise RaymetricsError(
            f"no metric of {names} takes a validation set; ask for --metrics fdr or --protocol "
            "fdr6, or leave --validation out"
        )
    if takers and (by or under):
        raise RaymetricsError(
            f"{', '.join(takers)} has one norm for all samples and one protocol; leave out "
            f"{'by' if by else 'under'}"
        )


def open_validation(validation: object) -> dict[str, OpenSide | SourceSide]:
    """Return the validation set as one more side; none without one, or for published norms.

    RaymetricsError for a file of statistics, which is of one space that it does not name.
    """
    if validation is None or (isinstance(validation, str) and validation == PUBLISHED):
        return {}
    side = open_side(VALIDATION, validation, None)
    if isinstance(side, ReferenceStatistics):
        raise RaymetricsError(
            f"the validation side {side.uri} is a file of statistics, which does not name its "
            "space; give a shard set or a source of images"
        )
    return {VALIDATION: side}


def require_published_norms(tasks: Sequence[MetricTask]) -> None:
    """Raise RaymetricsError for a task of FDr in a space without a published norm."""
    for task in tasks:
        if task.metric.takes_validation and task.column.extractor not in PUBLISHED_NORMS:
            raise RaymetricsError(
                f"there is no published norm of {task.column.extractor}; there are those of "
                f"{', '.join(PUBLISHED_NORMS)}; give the validation set itself"
            )


@dataclass(frozen=True)
class _Norms:
    """What FDr divides by, by the name of the column, and where it is from."""

    by_column: Mapping[str, Moments | Norm]
    fields: Mapping[str, str]  # for `Result.convention`
    details: Mapping[str, Any]


def bind_validation(
    tasks: Sequence[MetricTask], validation: Validation, compared: ShardSet, *, any_size: bool
) -> list[MetricTask]:
    """Return the tasks, in which FDr has its norms; reads the validation set once.

    compared: the set that the validation set must have been made like. SpecMismatch if it was not,
    NotEnoughData if it is too small for a covariance.
    """
    columns = {task.column: task.metric for task in tasks if task.metric.takes_validation}
    if not columns or validation is None:
        return list(tasks)
    norms = (
        _norms_of_set(validation, list(columns), compared, any_size=any_size)
        if isinstance(validation, View)
        else _published_norms(list(columns))
    )
    return [
        replace(task, metric=_with_norm(task.metric, task.column, norms))
        if task.metric.takes_validation
        else task
        for task in tasks
    ]


def _published_norms(columns: Sequence[Column]) -> _Norms:
    """Return the published norms of these columns."""
    norms = {c.name: Norm.from_text(PUBLISHED_NORMS[c.extractor]) for c in columns}
    return _Norms(norms, {"norms": f"published ({PUBLISHED_IN})"}, {VALIDATION: PUBLISHED})


def _norms_of_set(
    view: View, columns: Sequence[Column], compared: ShardSet, *, any_size: bool
) -> _Norms:
    """Fold the moments of these columns of a validation set."""
    for column in columns:
        require_same_extractor(compared, view.shards, column.extractor, any_size=any_size)
        if column not in view.shards.spec.columns:
            raise SpecMismatch(
                f"the validation set {view.shards.uri} has no column {column.name}; extract it as "
                "the real set"
            )
    if len(view) < 2:
        raise NotEnoughData(
            f"a covariance takes at least 2 samples, the validation set {view.shards.uri} has "
            f"{len(view)}; extract more"
        )
    measures = {column.name: ColumnStatistic(column.name, FeatureMoments()) for column in columns}
    moments = fold_shards(view, measures, sum(8 * column.dimension**2 for column in columns))
    side = side_from_view(view, len(view))
    fields = {"norms": f"{len(view)} samples of {side.source}"}
    return _Norms(moments, fields, {VALIDATION: asdict(side)})


def _with_norm(metric: Metric, column: Column, norms: _Norms) -> Metric:
    """Return FDr with the norm of a column; its values say where the norm is from."""
    compute = metric.compute
    assert compute is not None  # as no survey takes a validation set

    def compute_ratio(*statistics: Any) -> list[MetricValue]:
        values = compute(*statistics, validation=norms.by_column[column.name])
        return [
            replace(
                value,
                convention={**value.convention, **norms.fields},
                details={**value.details, **norms.details},
            )
            for value in values
        ]

    return replace(metric, compute=compute_ratio)


def _mean_errors(ratios: Sequence[Result]) -> dict[str, SamplingErrors]:
    """Return the errors of the mean: a sample moves the ratios of all spaces together."""
    parts = [ratio.errors.get("generated") for ratio in ratios]
    found = [part for part in parts if part is not None]
    if len(found) < len(ratios):
        return {}
    mean = np.mean([part.parts for part in found], axis=0)
    return {"generated": SamplingErrors(found[0].ids, mean, found[0].method)}


def mean_ratio(results: Sequence[Result]) -> list[Result]:
    """Return the mean of FDr over several spaces, called FDr6 of its six; none of fewer than two.

    Its details hold the ratio of each space, and the range that the rounding of the norms allows.
    """
    ratios = [result for result in results if result.metric == _RATIO]
    if len(ratios) < 2:
        return []
    names = [str(ratio.space["name"]) for ratio in ratios]
    is_fdr6 = sorted(names) == sorted(FDR6_SPACES)
    short_name = "FDr6" if is_fdr6 else f"FDr of {len(ratios)} spaces"
    first = ratios[0]
    own = ("norm", "range", "resize", "norms")
    shared = {k: v for k, v in first.convention.items() if k not in own}
    fields = {"mean": "arithmetic", "norms": first.convention["norms"]}
    details = {
        "spaces": {r.measure_name: r.value for r in ratios},
        VALIDATION: first.details[VALIDATION],
    }
    if all("range" in ratio.details for ratio in ratios):
        lowest, highest = np.mean([ratio.details["range"] for ratio in ratios], axis=0).tolist()
        fields["range"] = f"{lowest:.5g} to {highest:.5g} by the digits of the norms"
        details["range"] = [lowest, highest]
    value = float(np.mean([ratio.value for ratio in ratios]))
    errors = _mean_errors(ratios)
    interval = make_interval(value, errors, (0.0, np.inf))
    return [
        replace(
            first,
            metric=f"{_RATIO}_mean",
            label=short_name,
            short_name=short_name,
            space_name="",
            space={"name": short_name, "output": "mean", "spaces": names},
            value=value,
            interval={} if interval is None else asdict(interval),
            errors=errors,
            convention={**shared, **fields},
            details=details,
            seconds=sum(ratio.seconds for ratio in ratios),
            warnings=tuple(dict.fromkeys(w for ratio in ratios for w in ratio.warnings)),
        )
    ]
