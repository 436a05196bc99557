"""The workers that hold the partitions of candidates: threads of the driver, or actors.

Actors keep their partitions in memory or on their GPUs; partitions that are too large for that are
read again in every pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from raymetrics.attacks.weights_objective import OptimalTransport
from raymetrics.devices.failures import end_process_if_device_lost
from raymetrics.distributed.memory_limits import PartitionPlan
from raymetrics.distributed.nodes import (
    MAX_RESTARTS,
    actor_resources,
    count_threads,
)
from raymetrics.distributed.partitioned_features import (
    A,
    PartitionedFeatures,
    PartitionMethod,
    PartitionWorker,
    R,
)
from raymetrics.distributed.session import NO_PROGRESS_SECONDS
from raymetrics.errors import RaymetricsError
from raymetrics.statistics import WeightedMoments

START_SECONDS = 60  # for the other actors to start, after the first one has started


def start_workers(
    candidates: PartitionedFeatures, plan: PartitionPlan
) -> ThreadWorkers | ActorWorkers:
    """Start the workers that the plan names; the caller closes them."""
    if plan.in_driver:
        return ThreadWorkers(candidates)
    return ActorWorkers(candidates, plan.keep, on_device=plan.on_device)


class ThreadWorkers:
    """Partitions in the driver's memory."""

    def __init__(self, candidates: PartitionedFeatures) -> None:
        self.worker = PartitionWorker(candidates, keep=True)
        self.partition_count = len(candidates.partitions)
        self.executor = ThreadPoolExecutor(min(self.partition_count, count_threads()))

    def map_partitions(
        self, method: PartitionMethod[A, R], arguments: Sequence[A], shared: bool = False
    ) -> Iterator[R]:
        """Yield what a method returns for every partition, in order; see `PartitionPool`."""
        with threadpool_limits(1, user_api="blas"):
            yield from self.executor.map(
                partial(method, self.worker), range(self.partition_count), arguments
            )

    def transport(
        self, method: PartitionMethod[np.ndarray, WeightedMoments], weights: Sequence[np.ndarray]
    ) -> OptimalTransport:
        """Compute the map of all candidates in this process; see `PartitionPool`."""
        return self.worker.transport(self.map_partitions(method, weights))

    def close(self) -> None:
        """End the threads."""
        self.executor.shutdown(cancel_futures=True)


class ActorWorkers:
    """Partitions in actors: each has neighboring ones, and reads them again after it died."""

    def __init__(
        self,
        candidates: PartitionedFeatures,
        keep: bool,
        *,
        on_device: bool = False,
        actors: int | None = None,
    ) -> None:
        """on_device: hold tensors on the devices of the actors, which then compute the map too."""
        import ray

        count, cpus, gpus = actor_resources()
        count = min(actors or count, len(candidates.partitions))
        remote = ray.remote(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
        )
        candidates_ref = ray.put(candidates)
        self.actors = wait_for_actors(
            [
                remote(SingleThreadWorker).remote(candidates_ref, keep, on_device)
                for _ in range(count)
            ]
        )
        self.partition_count = len(candidates.partitions)
        self.on_device = on_device
        self.driver = PartitionWorker(candidates, keep=False)

    def map_partitions(
        self, method: PartitionMethod[A, R], arguments: Sequence[A], shared: bool = False
    ) -> Iterator[R]:
        """Yield what a method returns for every partition, in order; see `PartitionPool`."""
        import ray

        refs = [ray.put(arguments[0])] * self.partition_count if shared else arguments
        waiting = deque(self._start(method, refs))
        while waiting:
            yield _get_result(waiting.popleft())

    def transport(
        self, method: PartitionMethod[np.ndarray, WeightedMoments], weights: Sequence[np.ndarray]
    ) -> OptimalTransport:
        """Compute the map of all candidates; see `PartitionPool`.

        On devices the first actor does it, and no matrix of another comes to the driver.
        """
        if not self.on_device:
            return self.driver.transport(self.map_partitions(method, weights))
        moments = self._start(method, weights)
        result: OptimalTransport = _get_result(self.actors[0].merge.remote(*moments))
        return result

    def _start(self, method: Callable[..., Any], arguments: Sequence[Any]) -> list[Any]:
        """Start the computation of every partition in its actor, and return the references."""
        count = self.partition_count
        actors = [self.actors[i * len(self.actors) // count] for i in range(count)]
        return [
            actor.call.options(name=method.__qualname__).remote(method, i, argument)
            for i, (actor, argument) in enumerate(zip(actors, arguments, strict=True))
        ]

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self.actors:
            ray.kill(actor)


class SingleThreadWorker(PartitionWorker):
    """A worker that has a process, and computes in one thread of it."""

    def __init__(self, candidates: PartitionedFeatures, keep: bool, on_device: bool) -> None:
        device = None
        if on_device:
            from raymetrics.distributed.devices import use_deterministic_kernels, worker_device

            device = worker_device()
            use_deterministic_kernels()
        super().__init__(candidates, keep, device)
        threadpool_limits(1, user_api="blas")  # for the life of the process

    def call(self, method: PartitionMethod[A, R], index: int, argument: A) -> R:
        """Return what a method returns for a partition."""
        with end_process_if_device_lost():
            return method(self, index, argument)

    def merge(self, *moments: WeightedMoments) -> OptimalTransport:
        """Return the map of all partitions; Ray fetches what arguments refer to."""
        with end_process_if_device_lost():
            return self.transport(moments)


def wait_for_actors(actors: Sequence[Any]) -> list[Any]:
    """Return the actors that have started, in order; on a shared cluster some may never start."""
    import ray

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
    """Return the result of an actor. Raise RaymetricsError if it does not answer."""
    import ray

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
    """Return the error for an event that has not happened for `NO_PROGRESS_SECONDS`."""
    return RaymetricsError(
        f"no actor has {event} for {NO_PROGRESS_SECONDS} s; what was found is kept: see what else "
        "uses the cluster, and run the same command again"
    )
