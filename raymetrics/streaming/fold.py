"""All statistics of a shard set in one pass: plain Ray tasks over fixed groups of shards.

Groups are of a fixed number of shards and are merged in the order of their sample ids, so the
result has the same bits on any cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from raymetrics.shards.reader import ShardSet, open_shards
from raymetrics.statistics import Measure, fold, merge_all

GROUP = 4  # shards to a task


def fold_shards(shards: ShardSet, measures: Mapping[str, Measure]) -> dict[str, Any]:
    """Every measure of all shards, merged; needs a session. Empty if there are no shards."""
    # Few tasks at a time hold their results, however many there are.
    at_once = max(1, 2 * int(ray.cluster_resources().get("CPU", 1)))
    task = ray.remote(fold_group)
    waiting: list[ray.ObjectRef] = []
    merged: dict[str, Any] = {}
    for group in groups(shards.present):
        waiting.append(task.remote(shards.store.absolute_uri, group, measures))
        if len(waiting) == at_once:
            merged = merge_all(merged, ray.get(waiting.pop(0)))
    for result in waiting:
        merged = merge_all(merged, ray.get(result))
    return merged


def groups(present: Sequence[range]) -> list[tuple[range, ...]]:
    """The shards in order, GROUP at a time."""
    return [tuple(present[i : i + GROUP]) for i in range(0, len(present), GROUP)]


def fold_group(uri: str, group: Sequence[range], measures: Mapping[str, Measure]) -> dict[str, Any]:
    """A task: the measures of some shards, one after another."""
    shards = open_shards(uri)
    columns = sorted({measure.column for measure in measures.values()})
    return fold((shards.block(ids, columns) for ids in group), measures)
