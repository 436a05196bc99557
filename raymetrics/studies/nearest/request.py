"""What `nearest` is asked for, checked before anything slow starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics import sample_ranges
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics import Convention
from raymetrics.metrics.data_copying import COMPONENTS, FEWEST_GENERATED
from raymetrics.metrics.registry import METRICS
from raymetrics.neighbors import DEFAULT_ENGINE, make_engine
from raymetrics.shards.layout import shard_name
from raymetrics.shards.view import View
from raymetrics.studies.comparison import (
    MetricTask,
    comparable_columns,
    metric_applies,
    require_unique_samples,
)

DEFAULT_THRESHOLD = 0.5  # of cosines, in spaces of unit length; SSCD's authors take it for copies
_LENGTH_TOLERANCE = 1e-3  # of rows that count as of unit length: what half precision leaves
_SIDE_NAMES = {"real": "training", "test": "test", "generated": "generated"}


@dataclass(frozen=True)
class NearestRequest:
    """The options of `nearest` that its numbers depend on; see there."""

    neighbors: int
    threshold: float | None
    normalize: bool
    count: int
    seed: int
    engine: str = DEFAULT_ENGINE

    def __post_init__(self) -> None:
        if self.neighbors < 2:
            raise NotEnoughData(
                f"neighbors is {self.neighbors}, expected at least 2: the nearest, and those that "
                "its distance is compared with"
            )
        if self.count < 1:
            raise NotEnoughData(f"count is {self.count}, expected at least 1")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise RaymetricsError(
                f"threshold is {self.threshold:g}, expected a cosine, from -1 to 1"
            )
        Convention(seed=self.seed)  # says now what is wrong with it
        make_engine(self.engine)  # says now what is missing


def plan_columns(
    views: Mapping[str, View],
    request: NearestRequest,
    extractors: Sequence[str] | None,
    columns: Sequence[str] | None,
    *,
    any_size: bool,
) -> list[MetricTask]:
    """Return the columns to search, of those that all sides have.

    SpecMismatch if sides cannot be compared, RaymetricsError if there is no column of features or a
    side has repeated or shared samples, NotEnoughData for too few samples.
    """
    real, metric = views["real"].shards, METRICS["auth-pct"]
    spaces = comparable_columns(
        real, views["generated"].shards, extractors, columns, any_size=any_size
    )
    tasks = [
        MetricTask(metric, column)
        for column in spaces
        if metric_applies(metric, column, real.spec, explicit=bool(columns))
    ]
    if not tasks:
        names = ", ".join(column.name for column in spaces)
        raise RaymetricsError(f"nearest takes a column of features; there are {names}")
    if "test" in views:
        taken = [task.column.name for task in tasks]
        comparable_columns(real, views["test"].shards, None, taken, any_size=any_size)
    require_unique_samples(tasks, views)
    _require_counts(views, request, max(task.column.dimension for task in tasks))
    _require_disjoint(views)
    return tasks


def _require_counts(views: Mapping[str, View], request: NearestRequest, dimension: int) -> None:
    """Raise NotEnoughData if a side has too few samples for the numbers."""
    least = {"real": request.neighbors}
    if "test" in views:
        components = COMPONENTS if dimension > COMPONENTS else 1
        least = {
            "real": max(request.neighbors, components),
            "generated": FEWEST_GENERATED + 1,
        }
    for side, count in least.items():
        if len(views[side]) < count:
            raise NotEnoughData(
                f"{views[side].shards.uri} has {len(views[side])} {_SIDE_NAMES[side]} samples; "
                f"{'C_T' if 'test' in views else 'the ratio'} takes at least {count}: extract "
                "more, or ask for fewer --neighbors"
            )


def _require_disjoint(views: Mapping[str, View]) -> None:
    """Raise RaymetricsError if samples of one side are samples of another."""
    for side, other in (("generated", "real"), ("test", "real"), ("generated", "test")):
        if side in views and other in views:
            shared = _count_shared(views[side], views[other])
            if shared:
                raise RaymetricsError(
                    f"{shared} {_SIDE_NAMES[side]} samples of {views[side].shards.uri} are "
                    f"{_SIDE_NAMES[other]} samples too, of {views[other].shards.uri}; give sets "
                    "without common samples"
                )


def _count_shared(view: View, other: View) -> int:
    """Count the samples of one set that both views have.

    Two sets are one if they lie at one address, or by the digests of a shard that both have.
    """
    common = _digests(view) & _digests(other)
    if view.shards.store.absolute_uri == other.shards.store.absolute_uri:
        return len(np.intersect1d(view.sample_ids, other.sample_ids))
    shared = sample_ranges.union([ids for ids, _ in common])
    ids = np.intersect1d(view.sample_ids, other.sample_ids)
    return sum(int(((ids >= part.start) & (ids < part.stop)).sum()) for part in shared)


def _digests(view: View) -> set[tuple[range, str]]:
    """Return the shards that hold samples of a view, with the digests of their values."""
    digests = view.shards.digests
    names = {shard_name(ids): ids for ids in view.present}
    return {(ids, digests[name]) for name, ids in names.items()}


def find_threshold(views: Mapping[str, View], column: str, request: NearestRequest) -> float | None:
    """Return the cosine above which samples of a column count as copies.

    None where none is asked for and the column is not of unit length. ShardError where one is asked
    for nevertheless.
    """
    if request.normalize:
        return DEFAULT_THRESHOLD if request.threshold is None else request.threshold
    for view in (views["generated"], views["real"]):
        problem = _length_problem(view, column)
        if problem and request.threshold is not None:
            raise ShardError(
                f"{problem}, and a threshold is a cosine of features of length 1; add --normalize, "
                "or leave --threshold out"
            )
        if problem:
            return None
    return DEFAULT_THRESHOLD if request.threshold is None else request.threshold


def _length_problem(view: View, column: str) -> str | None:
    """Say which sample is not of unit length, up to the first one; None if all are."""
    for shard in view.present:
        block = view.block(shard, [column])
        lengths = np.linalg.norm(block[column].astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))
        if len(wrong):
            return (
                f"{column} of sample {block['sample_id'][wrong[0]]} in {view.shards.uri} has the "
                f"length {lengths[wrong[0]]:.4g}"
            )
    return None
