"""The stream of an extraction: planned shards in, the outcome of every shard out.

Without Ray it runs in threads of this process, with the same bits as on actors, so it serves as the
reference for them, and a debugger stops in a user's generator or extractor.
"""

from __future__ import annotations

from collections.abc import Iterator

from threadpoolctl import threadpool_limits

from raymetrics.distributed.devices import restore_kernels, worker_device
from raymetrics.distributed.extraction.generate import LocalGenerator
from raymetrics.distributed.extraction.shard_maker import ShardMaker
from raymetrics.distributed.extraction.shard_record import COMMIT, EXTRACT, GENERATE
from raymetrics.distributed.extraction.stream_control import StreamControl, start_control
from raymetrics.distributed.extraction.stream_plan import ShardOutcome, StreamPlan
from raymetrics.distributed.extraction.usage import PoolUsage, StreamUsage
from raymetrics.distributed.nodes import count_threads
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import uses_ray


def stream(
    plan: StreamPlan,
    resources: Resources,
    usage: StreamUsage | None = None,
    control: StreamControl | None = None,
) -> Iterator[ShardOutcome]:
    """Make the planned shards; yield the outcome of each, in any order, once it is committed.

    The outcome of a shard that cannot be made holds its error, and the others are made. Raises what
    concerns all shards: extractors that cannot be loaded, a store that does not answer, a cluster
    that is lost. Runs on actors in a session of Ray, otherwise in this process.

    usage: receives what was used. control: says how many shards may be begun, and is the caller's
    to stop; None for all.
    """
    usage, own_control = usage or StreamUsage(), None
    if control is None:
        control = own_control = start_control()
        control.open()
    try:
        if uses_ray():
            from raymetrics.distributed.extraction.pipeline import stream_through_actors  # slow

            yield from stream_through_actors(plan, resources, control, usage)
        else:
            yield from _stream_in_process(plan, resources.batch, control, usage)
    finally:
        if own_control is not None:
            own_control.stop()


def _stream_in_process(
    plan: StreamPlan, batch: int, control: StreamControl, usage: StreamUsage
) -> Iterator[ShardOutcome]:
    """Make the planned shards in this process; yield the outcome of each, in order.

    PyTorch and BLAS compute in one thread for each batch, as they do in a worker, and there are as
    many threads as processors.
    """
    with_gpu = worker_device().type == "cuda"
    # A GPU computes one batch at a time; the threads then decode the images of a data set.
    threads = 1 if with_gpu else count_threads()
    usage.begin([PoolUsage((GENERATE, EXTRACT, COMMIT), threads, float(with_gpu))])
    with restore_kernels():
        generator = LocalGenerator(plan.sources, count_threads() if with_gpu else 1)
        with threadpool_limits(1, user_api="blas"):
            make_shard = ShardMaker(plan, generator, batch, control, threads, ends_process=False)
        for number, shard in enumerate(plan.shards):
            if not control.admits(number):
                break
            with threadpool_limits(1, user_api="blas"):
                outcome = make_shard(shard)
            usage.add(outcome.record)
            yield outcome
    usage.end(repeated_shards=0)
