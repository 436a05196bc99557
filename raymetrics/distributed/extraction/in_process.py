"""The stream of an extraction without Ray: the same stages in this process, unit after unit.

It makes the same bits as the pipeline of actors, so it serves as the reference for that one, and a
debugger stops in a user's generator or extractor. PyTorch and BLAS compute in one thread, as they
do in a worker.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from raymetrics.distributed.devices import worker_device
from raymetrics.distributed.extraction.commit_stage import CommitShard
from raymetrics.distributed.extraction.stages import GenerateAndExtract
from raymetrics.distributed.extraction.stream_plan import (
    ShardOutcome,
    StreamPlan,
    parse_outcome,
    shard_destinations,
)
from raymetrics.distributed.extraction.unit_record import COMMIT, EXTRACT, GENERATE
from raymetrics.distributed.extraction.usage import PoolUsage, StreamUsage
from raymetrics.distributed.extraction.work_units import Unit, split_into_units


def stream_in_process(plan: StreamPlan, batch: int, usage: StreamUsage) -> Iterator[ShardOutcome]:
    """Make the planned shards; yield the outcome of each, in order, once it is committed.

    batch: samples of a unit. usage: receives what was used. Raises what
    `raymetrics.distributed.extraction.pipeline.stream` raises.
    """
    gpus = float(worker_device().type == "cuda")
    usage.begin([PoolUsage((GENERATE, EXTRACT, COMMIT), 1, gpus)])
    sources = [(target.spec.source, target.generator_fingerprint) for target in plan.targets]
    with threadpool_limits(1, user_api="blas"):
        make_features = GenerateAndExtract(sources, plan.extractors)
    commit = CommitShard(shard_destinations(plan), plan.logits, plan.max_left_out)
    shards = split_into_units(plan.shards, batch, plan.max_units_per_shard(batch))
    for number, units in enumerate(shards):
        if plan.gate is not None and not plan.gate.admits(number):
            break
        with threadpool_limits(1, user_api="blas"):
            rows = [make_features(_as_row(unit)) for unit in units]
        outcome = parse_outcome(commit(pa.concat_tables(rows)))
        usage.add(outcome.record)
        yield outcome
    usage.end(repeated_units=0)


def _as_row(unit: Unit) -> dict[str, np.ndarray]:
    """Return a unit as the stages take it, an array of one value for each field."""
    return {name: np.array([value]) for name, value in unit.items()}
