"""Ordered maps over groups of shards, and all statistics of a shard set in one pass.

Groups are of a fixed number of shards and results come in the order of their sample ids, so that a
fold has the same bits on any cluster and without one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from itertools import islice
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from raymetrics.distributed.nodes import cluster_cpus, count_threads
from raymetrics.distributed.session import uses_ray
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import Selection, View
from raymetrics.statistics import ColumnStatistic, fold, merge_all

SHARDS_PER_TASK = 4
_TASKS_PER_CPU = 2  # so that a CPU has its next task when it ends one
_MAX_PENDING_BYTES = 2_000_000_000  # bytes of statistics that tasks hold before they are merged

_Group = TypeVar("_Group")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[..., _Result],
    groups: Iterable[_Group],
    *shared: object,
    window: int | None = None,
    cpus: float = 1.0,
) -> Iterator[_Result]:
    """Yield `function(group, *shared)` of every group, in the order of the groups.

    Runs as Ray tasks in a session of Ray, otherwise in threads of this process; with the same bits,
    as BLAS has one thread in both.

    shared: arguments of every call; they are stored once for all tasks.
    window: the most tasks that run or hold a result at a time; by default two for each CPU.
    cpus: the CPUs that a task asks for; 0 for tasks that must run beside actors which hold all.
    """
    if not uses_ray():
        yield from _map_in_threads(function, groups, *shared)
        return
    import ray

    window = window or _TASKS_PER_CPU * cluster_cpus()
    name = getattr(function, "__name__", map_in_order.__name__)
    task = ray.remote(_call).options(num_cpus=cpus, name=name)
    references = [ray.put(value) for value in (function, *shared)]
    pending: deque[Any] = deque()
    for group in groups:
        pending.append(task.remote(group, *references))
        if len(pending) >= window:
            yield ray.get(pending.popleft())
    while pending:
        yield ray.get(pending.popleft())


def _map_in_threads(
    function: Callable[..., _Result], groups: Iterable[_Group], *shared: object
) -> Iterator[_Result]:
    """Yield `function(group, *shared)` of every group, as many at a time as there are threads."""
    count = count_threads()
    remaining = iter(groups)
    with ThreadPoolExecutor(count) as threads:
        while batch := list(islice(remaining, count)):
            run = threads.map if len(batch) > 1 else map  # one is run where a debugger looks
            with threadpool_limits(1, user_api="blas"):
                results = list(run(lambda group: function(group, *shared), batch))
            yield from results


def _call(group: Any, function: Callable[..., Any], *shared: Any) -> Any:
    return function(group, *shared)


def fold_shards(
    view: View, measures: Mapping[str, ColumnStatistic], statistics_bytes: int = 0
) -> dict[str, Any]:
    """Return every measure of a view, merged; an empty dictionary if there is nothing to fold.

    Runs on Ray in a session of Ray, otherwise in this process.

    statistics_bytes: the bytes of all measures' statistics of one task; the larger they are, the
    fewer tasks hold some at a time.
    """
    if not measures:
        return {}
    window = _TASKS_PER_CPU * cluster_cpus()
    if statistics_bytes:
        window = max(1, min(window, _MAX_PENDING_BYTES // statistics_bytes))
    results = map_in_order(
        _fold_group,
        group_shards(view.present),
        view.shards.store.absolute_uri,
        view.samples,
        measures,
        window=window,
    )
    merged: dict[str, Any] = {}
    return reduce(merge_all, results, merged)


def group_shards(present: Sequence[range]) -> list[tuple[range, ...]]:
    """Return the shards in order, `SHARDS_PER_TASK` to a group."""
    return [
        tuple(present[i : i + SHARDS_PER_TASK]) for i in range(0, len(present), SHARDS_PER_TASK)
    ]


def _fold_group(
    group: Sequence[range],
    uri: str,
    samples: tuple[range, ...] | Selection,
    measures: Mapping[str, ColumnStatistic],
) -> dict[str, Any]:
    """Fold the measures over the shards of a group, one shard after another."""
    view = View(open_shards(uri, group), samples)
    columns = sorted({measure.column for measure in measures.values()})
    return fold((view.block(ids, columns) for ids in group), measures)
