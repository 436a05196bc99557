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

from raymetrics.distributed.neighbors import GPU_BYTES, GPU_OVERHEAD, workers
from raymetrics.distributed.partitioned_features import Candidates, Holder, cut
from raymetrics.distributed.session import NO_PROGRESS_SECONDS
from raymetrics.errors import PlanTooLarge, RaymetricsError
from raymetrics.shards.view import View

ALONE_BYTES = 4_000_000_000  # of features that the driver holds by itself
START_SECONDS = 60  # that the last actors get to start, once one of them has
COPIES = 4  # of a part while it is read, matched and centred; and of its moments
MATRICES = 16  # d x d in float64, with the driver
VECTORS = 80  # of all weights in float64, with the driver: the optimiser, and its state in a file


@dataclass(frozen=True)
class Plan:
    """Who holds the parts, and whether they stay in memory."""

    alone: bool
    keep: bool


def planned(view: View, dimension: int, in_memory: bool | None = None) -> Plan:
    """How the parts of a view are held; needs a session. PlanTooLarge if they cannot be.

    in_memory: True for the driver's memory, False for actors; by default the driver's if there is
    no GPU and the features are few enough.
    """
    rows = [sum(map(view.count, part)) for part in cut(view, dimension)]
    free = psutil.virtual_memory().available
    actors, _, gpus = workers()
    nodes = max(1, sum(node["Alive"] for node in ray.nodes()))
    features = 4 * dimension * sum(rows)
    part = COPIES * (4 * dimension * max(rows) + 8 * dimension**2)
    driver = 8 * (MATRICES * dimension**2 + VECTORS * sum(rows))
    alone = driver + features + part * min(len(rows), threads())
    reading = driver + part * min(len(rows), actors) / nodes
    if in_memory is None:
        in_memory = not gpus and features <= ALONE_BYTES and alone <= free
    need = alone if in_memory else reading
    if need > free:
        raise PlanTooLarge(
            f"weights of {sum(rows)} candidates of {dimension} dimensions need "
            f"{need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "use smaller shards, fewer candidates, or a larger machine"
        )
    if gpus:
        keep = features / actors + part <= (GPU_BYTES - GPU_OVERHEAD) * gpus
    else:
        keep = reading + features / nodes <= free
    return Plan(alone=in_memory, keep=in_memory or keep)


def held(candidates: Candidates, plan: Plan) -> Threads | Actors:
    """The parts with those that the plan names; to be closed."""
    return Threads(candidates) if plan.alone else Actors(candidates, plan.keep)


def threads() -> int:
    """How many the driver has."""
    return len(os.sched_getaffinity(0))


class Threads:
    """Parts in the driver's memory."""

    def __init__(self, candidates: Candidates) -> None:
        self.holder = Holder(candidates, keep=True)
        self.count = len(candidates.parts)
        self.pool = ThreadPoolExecutor(min(self.count, threads()))

    def each(
        self, what: str, *, own: Sequence[Any] | None = None, all: Any = None
    ) -> Iterator[Any]:
        """What a method of the holder gives of every part, in order."""
        one = getattr(self.holder, what)
        with threadpool_limits(1, user_api="blas"):
            yield from self.pool.map(one, range(self.count), own or [all] * self.count)

    def close(self) -> None:
        """Ends the threads."""
        self.pool.shutdown(cancel_futures=True)


class Actors:
    """Parts with actors: each has neighbouring ones, and has them again after it died."""

    def __init__(self, candidates: Candidates, keep: bool, actors: int | None = None) -> None:
        count, cpus, gpus = workers()
        count = min(actors or count, len(candidates.parts))
        device = "cuda" if gpus else None
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=3, max_task_retries=3)
        shared = ray.put(candidates)
        self.actors = started([remote(Alone).remote(shared, keep, device) for _ in range(count)])
        self.count = len(candidates.parts)

    def each(
        self, what: str, *, own: Sequence[Any] | None = None, all: Any = None
    ) -> Iterator[Any]:
        """What a method of the holder gives of every part, in order."""
        each = own or [ray.put(all)] * self.count
        waiting = [
            getattr(self.actors[i * len(self.actors) // self.count], what).remote(i, each[i])
            for i in range(self.count)
        ]
        while waiting:
            yield result(waiting.pop(0))

    def close(self) -> None:
        """Ends the actors."""
        for actor in self.actors:
            ray.kill(actor)


class Alone(Holder):
    """A holder that has a process, and computes in one thread of it."""

    def __init__(self, candidates: Candidates, keep: bool, device: str | None) -> None:
        super().__init__(candidates, keep, device)
        threadpool_limits(1, user_api="blas")  # for good
        if device:
            from raymetrics.distributed.devices import reproducible

            reproducible()


def started(actors: Sequence[Any]) -> list[Any]:
    """The actors that have started, in order; on a cluster that others use too some may never."""
    starting = {actor.__ray_ready__.remote(): actor for actor in actors}
    done, late = ray.wait([*starting], num_returns=1, timeout=NO_PROGRESS_SECONDS)
    if done and late:
        more, late = ray.wait(late, num_returns=len(late), timeout=START_SECONDS)
        done += more
    for ref in late:
        ray.kill(starting[ref])
    if not done:
        raise stuck("started")
    return [actor for ref, actor in starting.items() if ref in done]


def result(ref: Any) -> Any:
    """What an actor found. RaymetricsError if it does not come back."""
    try:
        return ray.get(ref, timeout=NO_PROGRESS_SECONDS)
    except ray.exceptions.GetTimeoutError:
        raise stuck("finished a part") from None
    except ray.exceptions.RayActorError as error:
        raise RaymetricsError(
            f"an actor died and could not be started again ({error}); what was found is kept: see "
            "whether memory was short, and run the same command again"
        ) from None


def stuck(what: str) -> RaymetricsError:
    """The error that nothing has happened for long."""
    return RaymetricsError(
        f"no actor has {what} for {NO_PROGRESS_SECONDS} s; what was found is kept: see what else "
        "uses the cluster, and run the same command again"
    )
