"""Who holds the parts of candidates: threads of the driver, or actors.

Parts with actors stay in their memory, or on their GPUs; where that is too much, they are read
again in every pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from threadpoolctl import threadpool_limits

from raymetrics.distributed.nodes import actor_resources, cluster_nodes, gpu_bytes_for_features
from raymetrics.distributed.partitioned_features import (
    PartitionedFeatures,
    PartitionWorker,
    partition_shards,
)
from raymetrics.distributed.session import NO_PROGRESS_SECONDS, uses_ray
from raymetrics.errors import InsufficientResources, RaymetricsError
from raymetrics.shards.view import View

_DRIVER_BYTES = 4_000_000_000  # of features that the driver holds by itself
START_SECONDS = 60  # that the last actors get to start, once one of them has
_PARTITION_COPIES = 4  # of a part while it is read, matched and centred; and of its moments
_MATRICES = 16  # d x d in float64, with the driver
VECTORS = 80  # of all weights in float64, with the driver: the optimiser, and its state in a file


@dataclass(frozen=True)
class PartitionPlan:
    """Who holds the parts, and whether they stay in memory."""

    in_driver: bool
    keep: bool


def plan_workers(view: View, dimension: int, in_memory: bool | None = None) -> PartitionPlan:
    """How the parts of a view are held; needs a session. PlanTooLarge if they cannot be.

    in_memory: True for the driver's memory, False for actors; by default the driver's if there is
    no GPU and the features are few enough.
    """
    rows = [sum(map(view.count, part)) for part in partition_shards(view, dimension)]
    free = psutil.virtual_memory().available
    actors, _, gpus = actor_resources()
    nodes = max(1, len(cluster_nodes())) if uses_ray() else 1
    if not uses_ray():
        in_memory = True  # there is nobody else to hold them
    feature_bytes = 4 * dimension * sum(rows)
    part = _PARTITION_COPIES * (4 * dimension * max(rows) + 8 * dimension**2)
    driver_bytes = 8 * (_MATRICES * dimension**2 + VECTORS * sum(rows))
    bytes_in_driver = driver_bytes + feature_bytes + part * min(len(rows), _count_threads())
    bytes_with_actors = driver_bytes + part * min(len(rows), actors) / nodes
    if in_memory is None:
        in_memory = not gpus and feature_bytes <= _DRIVER_BYTES and bytes_in_driver <= free
    needed_bytes = bytes_in_driver if in_memory else bytes_with_actors
    if needed_bytes > free:
        raise InsufficientResources(
            f"weights of {sum(rows)} candidates of {dimension} dimensions need "
            f"{needed_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "use smaller shards, fewer candidates, or a larger machine"
        )
    if gpus:
        keep = feature_bytes / actors + part <= gpu_bytes_for_features() * gpus
    else:
        keep = bytes_with_actors + feature_bytes / nodes <= free
    return PartitionPlan(in_driver=in_memory, keep=in_memory or keep)


def start_workers(
    candidates: PartitionedFeatures, plan: PartitionPlan
) -> ThreadWorkers | ActorWorkers:
    """The parts with those that the plan names; to be closed."""
    return ThreadWorkers(candidates) if plan.in_driver else ActorWorkers(candidates, plan.keep)


def _count_threads() -> int:
    """How many the driver has."""
    return len(os.sched_getaffinity(0))


class ThreadWorkers:
    """Parts in the driver's memory."""

    def __init__(self, candidates: PartitionedFeatures) -> None:
        self.worker = PartitionWorker(candidates, keep=True)
        self.partition_count = len(candidates.partitions)
        self.executor = ThreadPoolExecutor(min(self.partition_count, _count_threads()))

    def map_partitions(
        self,
        method: str,
        *,
        partition_arguments: Sequence[Any] | None = None,
        shared_argument: Any = None,
    ) -> Iterator[Any]:
        """What a method of the holder gives of every part, in order."""
        compute = getattr(self.worker, method)
        with threadpool_limits(1, user_api="blas"):
            yield from self.executor.map(
                compute,
                range(self.partition_count),
                partition_arguments or [shared_argument] * self.partition_count,
            )

    def close(self) -> None:
        """Ends the threads."""
        self.executor.shutdown(cancel_futures=True)


class ActorWorkers:
    """Parts with actors: each has neighbouring ones, and has them again after it died."""

    def __init__(
        self, candidates: PartitionedFeatures, keep: bool, actors: int | None = None
    ) -> None:
        count, cpus, gpus = actor_resources()
        count = min(actors or count, len(candidates.partitions))
        device = "cuda" if gpus else None
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=3, max_task_retries=3)
        shared = ray.put(candidates)
        self.actors = wait_for_actors(
            [remote(SingleThreadWorker).remote(shared, keep, device) for _ in range(count)]
        )
        self.partition_count = len(candidates.partitions)

    def map_partitions(
        self,
        method: str,
        *,
        partition_arguments: Sequence[Any] | None = None,
        shared_argument: Any = None,
    ) -> Iterator[Any]:
        """What a method of the holder gives of every part, in order."""
        arguments = partition_arguments or [ray.put(shared_argument)] * self.partition_count
        waiting = [
            getattr(self.actors[i * len(self.actors) // self.partition_count], method).remote(
                i, arguments[i]
            )
            for i in range(self.partition_count)
        ]
        while waiting:
            yield _get_result(waiting.pop(0))

    def close(self) -> None:
        """Ends the actors."""
        for actor in self.actors:
            ray.kill(actor)


class SingleThreadWorker(PartitionWorker):
    """A holder that has a process, and computes in one thread of it."""

    def __init__(self, candidates: PartitionedFeatures, keep: bool, device: str | None) -> None:
        super().__init__(candidates, keep, device)
        threadpool_limits(1, user_api="blas")  # for good
        if device:
            from raymetrics.distributed.devices import use_deterministic_kernels

            use_deterministic_kernels()


def wait_for_actors(actors: Sequence[Any]) -> list[Any]:
    """The actors that have started, in order; on a cluster that others use too some may never."""
    starting = {actor.__ray_ready__.remote(): actor for actor in actors}
    done, late = ray.wait([*starting], num_returns=1, timeout=NO_PROGRESS_SECONDS)
    if done and late:
        more, late = ray.wait(late, num_returns=len(late), timeout=START_SECONDS)
        done += more
    for ref in late:
        ray.kill(starting[ref])
    if not done:
        raise _no_progress_error("started")
    return [actor for ref, actor in starting.items() if ref in done]


def _get_result(ref: Any) -> Any:
    """What an actor found. RaymetricsError if it does not come back."""
    try:
        return ray.get(ref, timeout=NO_PROGRESS_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise _no_progress_error("finished a part") from None
    except ray.exceptions.RayActorError as error:
        raise RaymetricsError(
            f"an actor died and could not be started again ({error}); what was found is kept: see "
            "whether memory was short, and run the same command again"
        ) from None


def _no_progress_error(event: str) -> RaymetricsError:
    """The error that nothing has happened for long."""
    return RaymetricsError(
        f"no actor has {event} for {NO_PROGRESS_SECONDS} s; what was found is kept: see what else "
        "uses the cluster, and run the same command again"
    )
