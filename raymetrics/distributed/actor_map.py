"""A map by workers that load something first, such as networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from raymetrics.distributed.nodes import plan_cluster_placement
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import uses_ray

Worker = Callable[[int], int]


def map_with_workers(
    make_worker: Callable[[Any], Worker], plan: object, items: Sequence[int], resources: Resources
) -> Iterator[int]:
    """Yield what a worker returns for every item, in any order.

    Runs on actors in a session of Ray, otherwise in this process. Each actor calls
    `make_worker(plan)` once, and then its worker with one item after another; an actor that dies is
    replaced, and its item is begun again.

    plan: stored once for all actors.
    """
    if not items:
        return
    if not uses_ray():
        worker = make_worker(plan)
        for item in items:
            with threadpool_limits(1, user_api="blas"):
                result = worker(item)
            yield result
        return
    import ray.data

    from raymetrics.distributed.extraction.pipeline import add_stage, configure_ray_data

    dataset = ray.data.from_items([{"item": item} for item in items])
    configure_ray_data(dataset.context)
    placement = plan_cluster_placement(replace(resources, fused=True, generators=None), len(items))
    arguments = make_worker, ray.put(plan)
    stage = add_stage(dataset, _WorkerStage, arguments, placement.workers)
    for row in stage.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        yield int(row["result"][0])


class _WorkerStage:
    """A stage of Ray Data: items to results."""

    def __init__(self, make_worker: Callable[[Any], Worker], plan: Any) -> None:
        """plan: Ray's reference to it, which Ray Data does not resolve."""
        import ray

        self.worker = make_worker(ray.get(plan))

    def __call__(self, row: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"result": np.array([self.worker(int(row["item"][0]))])}
