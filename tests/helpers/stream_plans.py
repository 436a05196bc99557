"""Make the plan of a stream, and what makes its shards, without a session."""

from __future__ import annotations

from dataclasses import replace

import torch

from raymetrics.distributed.extraction.dataset_request import load_extractors, make_spec
from raymetrics.distributed.extraction.generate import LocalGenerator, SampleGenerator
from raymetrics.distributed.extraction.shard_maker import ShardMaker
from raymetrics.distributed.extraction.stream_control import StreamControl
from raymetrics.distributed.extraction.stream_plan import SetToMake, StreamPlan
from raymetrics.generators import open_source, quick_fingerprint
from raymetrics.shards.layout import create_or_extend_spec
from raymetrics.shards.store import Store


def make_plan(
    to: str, source: str, samples: range, shard_rows: int = 20, extractor: str = "digits"
) -> StreamPlan:
    """Return the plan of a set that is begun at `to`."""
    generator = open_source(source, torch.device("cpu"))
    texts, networks = load_extractors([extractor])
    spec = make_spec(source, generator, texts, networks, samples, shard_rows)
    spec = create_or_extend_spec(Store(to), spec)
    todo = [
        range(first, min(first + shard_rows, samples.stop))
        for first in range(samples.start, samples.stop, shard_rows)
    ]
    return StreamPlan([SetToMake(spec, quick_fingerprint(generator), todo, to)])


def with_source(plan: StreamPlan, source: str, fingerprint: str | None = None) -> StreamPlan:
    """Return the plan as a worker has it that finds another source than the driver."""
    (target,) = plan.targets
    changed = replace(target, spec=replace(target.spec, source=source))
    if fingerprint is not None:
        changed = replace(changed, generator_fingerprint=fingerprint)
    return replace(plan, targets=[changed])


def make_maker(
    plan: StreamPlan,
    generator: SampleGenerator | None = None,
    batch: int = 10,
    control: StreamControl | None = None,
    threads: int = 1,
) -> ShardMaker:
    """Return what makes the shards of a plan in this process."""
    return ShardMaker(
        plan,
        generator or LocalGenerator(plan.sources),
        batch,
        control or StreamControl(),
        threads,
        ends_process=False,
    )
