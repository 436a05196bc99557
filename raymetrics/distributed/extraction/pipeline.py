"""Sample ids -> generator actors -> extractor actors -> shards.

Units flow in order. The last stage gathers the units of a shard, commits it, and hands one row to
the driver, which reports the progress and, for a match, decides how far the stream goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayActorError

from raymetrics.distributed.extraction.commit_stage import CommitShard
from raymetrics.distributed.extraction.retry_limit import MAX_ATTEMPTS, start_attempt_counter
from raymetrics.distributed.extraction.stages import Extract, Generate, GenerateAndExtract
from raymetrics.distributed.extraction.stream_plan import (
    ShardOutcome,
    StreamPlan,
    parse_outcome,
    shard_destinations,
)
from raymetrics.distributed.extraction.unit_record import COMMIT, EXTRACT, GENERATE
from raymetrics.distributed.extraction.unit_source import UnitSource
from raymetrics.distributed.extraction.usage import PoolUsage, StreamUsage
from raymetrics.distributed.extraction.work_units import split_into_units
from raymetrics.distributed.nodes import plan_cluster_placement
from raymetrics.distributed.resources import ActorPool, Placement, Resources
from raymetrics.distributed.session import NO_PROGRESS_SECONDS

_ENOUGH_UNITS = 4096  # units; so many keep any cluster busy


def stream_through_actors(
    plan: StreamPlan, resources: Resources, usage: StreamUsage
) -> Iterator[ShardOutcome]:
    """Make the planned shards on actors of Ray, see `raymetrics.distributed.extraction.stream`."""
    attempt_counter = start_attempt_counter()
    try:
        dataset = _build_pipeline(plan, resources, attempt_counter, usage)
        # A batch that is fetched ahead would arrive only with the next one, which may wait for it.
        for row in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
            outcome = parse_outcome(row)
            usage.add(outcome.record)
            yield outcome
        with suppress(RayActorError):  # all shards are made, even if the counter is lost
            usage.end(repeated_units=ray.get(attempt_counter.count_repeats.remote()))
    finally:
        ray.kill(attempt_counter)


def _build_pipeline(
    plan: StreamPlan, resources: Resources, attempt_counter: Any, usage: StreamUsage
) -> Dataset:
    """Return the stages one after another; nothing runs yet. usage: receives the pools."""
    units_per_shard = plan.max_units_per_shard(resources.batch)
    shards = split_into_units(plan.shards, resources.batch, units_per_shard)
    unit_count = sum(map(len, itertools.islice(shards, _ENOUGH_UNITS // units_per_shard + 1)))
    dataset = ray.data.read_datasource(
        UnitSource(plan.shards, resources.batch, units_per_shard, plan.gate),
        override_num_blocks=1,
        concurrency=1,
        num_cpus=0,  # it only waits, and must not wait for a processor that actors hold
    )
    dataset.set_name("raymetrics")
    configure_ray_data(dataset.context)
    actor_placement = plan_cluster_placement(resources, unit_count, plan.sizes)
    sources = [(target.spec.source, target.generator_fingerprint) for target in plan.targets]
    usage.begin(_pools_used(actor_placement))
    if actor_placement.extract is None:
        arguments = sources, plan.extractors, attempt_counter
        dataset = add_stage(dataset, GenerateAndExtract, arguments, actor_placement.generate)
    else:
        dataset = add_stage(dataset, Generate, (sources, attempt_counter), actor_placement.generate)
        dataset = add_stage(
            dataset, Extract, (*plan.extractors, attempt_counter), actor_placement.extract
        )
    return dataset.map_batches(
        CommitShard,
        fn_constructor_args=(shard_destinations(plan), plan.logits, plan.max_left_out),
        batch_size=units_per_shard,
        batch_format="pyarrow",
        # Asks for no CPU, so that no loss of a node can leave it without one.
        num_cpus=0,
        compute=ActorPoolStrategy(size=actor_placement.commit.actors),
    )


def _pools_used(actor_placement: Placement) -> list[PoolUsage]:
    """Return the pools with the stages that they run."""
    stages = [(GENERATE, EXTRACT)] if actor_placement.fused else [(GENERATE,), (EXTRACT,)]
    computing = zip(stages, actor_placement.pools, strict=True)
    pools = [
        PoolUsage(pool_stages, pool.actors, pool.actors * pool.gpus)
        for pool_stages, pool in computing
    ]
    return [*pools, PoolUsage((COMMIT,), actor_placement.commit.actors)]


def add_stage(
    dataset: Dataset, stage: type, arguments: tuple[object, ...], pool: ActorPool
) -> Dataset:
    """Append a stage: a fixed number of actors that take one unit at a time."""
    return dataset.map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=1,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        memory=pool.memory or None,
        compute=ActorPoolStrategy(size=pool.actors),
    )


def configure_ray_data(context: DataContext) -> None:
    """Make Ray Data keep the order, cut a block per row, print nothing, and lose no row."""
    context.execution_options.preserve_order = True
    # Otherwise a task hands its rows over at its end, and the task that makes units may not end.
    context.target_max_block_size = 1
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    # An actor that dies while it loads its models is replaced; too many such deaths end the run.
    context.max_consecutive_actor_init_deaths = MAX_ATTEMPTS
    context.raise_original_map_exception = True  # so that `session` finds a RaymetricsError in it
