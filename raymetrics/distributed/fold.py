"""All statistics of a shard set in one pass: plain Ray tasks over fixed groups of shards.

Groups are of a fixed number of shards and are merged in the order of their sample ids, so the
result has the same bits on any cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import ColumnStatistic, fold, merge_all

SHARDS_PER_TASK = 4  # shards to a task
_MAX_PENDING_BYTES = 2_000_000_000  # bytes of statistics that tasks hold before they are merged


def fold_shards(
    view: View, measures: Mapping[str, ColumnStatistic], statistics_bytes: int = 0
) -> dict[str, Any]:
    """Every measure of a view, merged; needs a session. Empty if there is nothing to fold.

    bytes_of_all: what the statistics take; of large ones there are fewer at a time.
    """
    if not measures:
        return {}
    # Few tasks at a time hold their results, however many there are.
    max_pending = max(1, 2 * int(ray.cluster_resources().get("CPU", 1)))
    if statistics_bytes:
        max_pending = max(1, min(max_pending, _MAX_PENDING_BYTES // statistics_bytes))
    task = ray.remote(fold_group)
    pending: list[ray.ObjectRef] = []
    merged: dict[str, Any] = {}
    # Once for all tasks: a measure may know the number of every sample.
    shared: Any = ray.put(measures)
    samples: Any = ray.put(view.samples)
    uri = view.shards.store.absolute_uri
    for group in group_shards(view.present):
        pending.append(task.remote(uri, samples, group, shared))
        if len(pending) == max_pending:
            merged = merge_all(merged, ray.get(pending.pop(0)))
    for result in pending:
        merged = merge_all(merged, ray.get(result))
    return merged


def group_shards(present: Sequence[range]) -> list[tuple[range, ...]]:
    """The shards in order, GROUP at a time."""
    return [
        tuple(present[i : i + SHARDS_PER_TASK]) for i in range(0, len(present), SHARDS_PER_TASK)
    ]


def fold_group(
    uri: str,
    samples: tuple[range, ...] | Selection,
    group: Sequence[range],
    measures: Mapping[str, ColumnStatistic],
) -> dict[str, Any]:
    """A task: the measures of some shards, one after another."""
    view = View(open_shards(uri, group), samples)
    columns = sorted(set().union(*(measure.columns for measure in measures.values())))
    return fold((view.block(ids, columns) for ids in group), measures)
