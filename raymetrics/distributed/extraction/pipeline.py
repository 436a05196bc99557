"""Planned shards -> actors that make and commit them -> one small record a shard.

Ray Data hands the shards to the actors, replaces actors that die, and begins their shards again.
The records come in any order.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayActorError
from threadpoolctl import threadpool_limits

from raymetrics.distributed.extraction.generate import (
    LocalGenerator,
    RemoteGenerator,
    SampleGenerator,
)
from raymetrics.distributed.extraction.shard_maker import ShardMaker
from raymetrics.distributed.extraction.shard_record import COMMIT, EXTRACT, GENERATE
from raymetrics.distributed.extraction.shard_source import ShardSource, parse_shard
from raymetrics.distributed.extraction.stream_control import MAX_ATTEMPTS, StreamControl
from raymetrics.distributed.extraction.stream_plan import ShardOutcome, StreamPlan
from raymetrics.distributed.extraction.usage import PoolUsage, StreamUsage
from raymetrics.distributed.nodes import plan_cluster_placement
from raymetrics.distributed.reserved_gpus import reserved_gpus
from raymetrics.distributed.resources import ActorPool, Placement, Resources
from raymetrics.distributed.session import NO_PROGRESS_SECONDS

_ENOUGH_SHARDS = 4096  # so many keep any cluster busy
_LONG_QUEUE = 4  # shards for each actor; then an actor may begin one while it commits another


def stream_through_actors(
    plan: StreamPlan, resources: Resources, control: StreamControl, usage: StreamUsage
) -> Iterator[ShardOutcome]:
    """Make the planned shards on actors of Ray, see `raymetrics.distributed.extraction.stream`."""
    dataset = _build_pipeline(plan, resources, control, usage)
    # A batch that is fetched ahead would arrive only with the next one, which may wait for it.
    for row in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        outcome: ShardOutcome = row["outcome"][0]
        usage.add(outcome.record)
        yield outcome
    with suppress(RayActorError):  # all shards are made, even if the control is lost
        usage.end(control.count_repeats())


def _build_pipeline(
    plan: StreamPlan, resources: Resources, control: StreamControl, usage: StreamUsage
) -> Dataset:
    """Return the source and the actors; nothing runs yet. usage: receives the pools."""
    shard_count = sum(1 for _ in itertools.islice(plan.shards, _ENOUGH_SHARDS))
    placement = plan_cluster_placement(resources, shard_count, plan.sizes)
    usage.begin(_used_pools(placement))
    dataset = ray.data.read_datasource(
        ShardSource(plan.shards, control),
        override_num_blocks=1,
        concurrency=1,
        num_cpus=0,  # it only waits, and must not wait for a processor that actors hold
    )
    dataset.set_name("raymetrics")
    configure_ray_data(dataset.context)
    arguments = ray.put(plan.for_workers()), placement, resources.batch, control
    calls = 2 if shard_count >= _LONG_QUEUE * placement.workers.actors else 1
    return add_stage(dataset, ShardWorker, arguments, placement.workers, calls)


def _used_pools(placement: Placement) -> list[PoolUsage]:
    """Return the pools with the stages that they run."""
    workers = placement.workers
    if not placement.generators:
        stages: tuple[str, ...] = (GENERATE, EXTRACT, COMMIT)
        return [PoolUsage(stages, workers.actors, workers.actors * workers.gpus)]
    generators = workers.actors * placement.generators
    own_gpus = generators * placement.generator_gpus
    return [
        PoolUsage((GENERATE,), generators, own_gpus),
        PoolUsage((EXTRACT, COMMIT), workers.actors, workers.actors * workers.gpus - own_gpus),
    ]


class ShardWorker:
    """An actor that makes and commits shards."""

    def __init__(self, plan: Any, placement: Placement, batch: int, control: StreamControl) -> None:
        """plan: Ray's reference to it, which Ray Data does not resolve."""
        threadpool_limits(1, user_api="blas")  # for the life of the process
        stream_plan: StreamPlan = ray.get(plan)
        generator, threads = _start_generator(stream_plan, placement)
        self.make_shard = ShardMaker(stream_plan, generator, batch, control, threads)

    def __call__(self, row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Make the shard of a row of `ShardSource`; return its outcome as an object."""
        result = np.empty(1, object)
        result[0] = self.make_shard(parse_shard(row))
        return {"outcome": result}


def _start_generator(plan: StreamPlan, placement: Placement) -> tuple[SampleGenerator, int]:
    """Return what generates for this worker, and how many batches to compute at a time."""
    if not placement.generators:
        return LocalGenerator(plan.sources, placement.workers.threads), 1
    gpus = list(reserved_gpus()) if plan.sizes.generator != 0 else []  # a data set takes none
    if placement.generator_gpus:
        gpus = gpus[1:]  # the first is for the extractors
    count = placement.generators
    shown = [gpus[i % len(gpus)] if gpus else None for i in range(count)]
    return RemoteGenerator(plan.sources, shown), count + 1


def add_stage(
    dataset: Dataset,
    stage: type,
    arguments: tuple[object, ...],
    pool: ActorPool,
    calls: int = 1,
) -> Dataset:
    """Append a stage: a fixed number of actors that take one row at a time.

    calls: how many rows an actor has at a time, in a thread each.
    """
    return dataset.map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=1,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        memory=pool.memory or None,
        compute=ActorPoolStrategy(
            size=pool.actors,
            max_tasks_in_flight_per_actor=calls,
            max_concurrent_calls_per_actor=calls,
            enable_true_multi_threading=calls > 1,
        ),
    )


def configure_ray_data(context: DataContext) -> None:
    """Make Ray Data cut a block per row, print nothing, and lose no row."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its import has set another level
    # Otherwise a task hands its rows over at its end, and the source's task may not end.
    context.target_max_block_size = 1
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    # An actor that dies while it loads its models is replaced; too many such deaths end the run.
    context.max_consecutive_actor_init_deaths = MAX_ATTEMPTS
    context.raise_original_map_exception = True  # so that `session` finds a RaymetricsError in it
