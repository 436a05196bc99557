"""The stream of an extraction without Ray: the same stages in threads of this process.

It makes the same bits as the pipeline of actors, so it serves as the reference for that one, and a
debugger stops in a user's generator or extractor. PyTorch and BLAS compute in one thread for each
unit, as they do in a worker, and there are as many threads as processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from raymetrics.distributed.devices import restore_kernels, worker_device
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
from raymetrics.distributed.nodes import count_threads


def stream_in_process(plan: StreamPlan, batch: int, usage: StreamUsage) -> Iterator[ShardOutcome]:
    """Make the planned shards; yield the outcome of each, in order, once it is committed.

    batch: samples of a unit. usage: receives what was used. Raises what
    `raymetrics.distributed.extraction.stream.stream` raises.
    """
    gpus = float(worker_device().type == "cuda")
    usage.begin([PoolUsage((GENERATE, EXTRACT, COMMIT), count_threads(), gpus)])
    sources = [(target.spec.source, target.generator_fingerprint) for target in plan.targets]
    commit = CommitShard(shard_destinations(plan), plan.logits, plan.max_left_out)
    shards = split_into_units(plan.shards, batch, plan.max_units_per_shard(batch))
    with restore_kernels(), ThreadPoolExecutor(count_threads()) as threads:
        with threadpool_limits(1, user_api="blas"):
            make_features = GenerateAndExtract(sources, plan.extractors, loaded=plan.loaded)
        for number, units in enumerate(shards):
            if plan.gate is not None and not plan.gate.admits(number):
                break
            with threadpool_limits(1, user_api="blas"):
                rows = list(threads.map(make_features, map(_as_row, units)))
            outcome = parse_outcome(commit(pa.concat_tables(rows)))
            usage.add(outcome.record)
            yield outcome
    usage.end(repeated_units=0)


def _as_row(unit: Unit) -> dict[str, np.ndarray]:
    """Return a unit as the stages take it, an array of one value for each field."""
    return {name: np.array([value]) for name, value in unit.items()}
