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
from raymetrics.statistics import Measure, fold, merge_all

GROUP = 4  # shards to a task
AT_ONCE = 2_000_000_000  # bytes of statistics that tasks hold before they are merged


def fold_shards(
    view: View, measures: Mapping[str, Measure], bytes_of_all: int = 0
) -> dict[str, Any]:
    """Every measure of a view, merged; needs a session. Empty if there is nothing to fold.

    bytes_of_all: what the statistics take; of large ones there are fewer at a time.
    """
    if not measures:
        return {}
    # Few tasks at a time hold their results, however many there are.
    at_once = max(1, 2 * int(ray.cluster_resources().get("CPU", 1)))
    if bytes_of_all:
        at_once = max(1, min(at_once, AT_ONCE // bytes_of_all))
    task = ray.remote(fold_group)
    waiting: list[ray.ObjectRef] = []
    merged: dict[str, Any] = {}
    # Once for all tasks: a measure may know the number of every sample.
    shared: Any = ray.put(measures)
    samples: Any = ray.put(view.samples)
    uri = view.shards.store.absolute_uri
    for group in groups(view.present):
        waiting.append(task.remote(uri, samples, group, shared))
        if len(waiting) == at_once:
            merged = merge_all(merged, ray.get(waiting.pop(0)))
    for result in waiting:
        merged = merge_all(merged, ray.get(result))
    return merged


def groups(present: Sequence[range]) -> list[tuple[range, ...]]:
    """The shards in order, GROUP at a time."""
    return [tuple(present[i : i + GROUP]) for i in range(0, len(present), GROUP)]


def fold_group(
    uri: str,
    samples: tuple[range, ...] | Selection,
    group: Sequence[range],
    measures: Mapping[str, Measure],
) -> dict[str, Any]:
    """A task: the measures of some shards, one after another."""
    view = View(open_shards(uri, group), samples)
    columns = sorted(set().union(*(measure.columns for measure in measures.values())))
    return fold((view.block(ids, columns) for ids in group), measures)
