"""The stream of an extraction: planned shards in, the outcome of every shard out."""

from __future__ import annotations

from collections.abc import Iterator

from raymetrics.distributed.extraction.in_process import stream_in_process
from raymetrics.distributed.extraction.stream_plan import ShardOutcome, StreamPlan
from raymetrics.distributed.extraction.usage import StreamUsage
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import uses_ray


def stream(
    plan: StreamPlan, resources: Resources, usage: StreamUsage | None = None
) -> Iterator[ShardOutcome]:
    """Make the planned shards; yield the outcome of each, in order, once it is committed.

    The outcome of a shard that cannot be made holds its error, and the others are made. Raises what
    concerns all shards: extractors that cannot be loaded, a store that does not answer, a cluster
    that is lost. Runs on actors in a session of Ray, otherwise in this process.

    usage: receives what was used.
    """
    usage = usage or StreamUsage()
    if not uses_ray():
        yield from stream_in_process(plan, resources.batch, usage)
        return
    from raymetrics.distributed.extraction.pipeline import stream_through_actors  # loads Ray Data

    yield from stream_through_actors(plan, resources, usage)
