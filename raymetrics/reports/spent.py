"""What a stream used, in words."""

from __future__ import annotations

from raymetrics.distributed.extraction.usage import STAGES, Spent, Workers
from raymetrics.distributed.resources import told


def spent_text(spent: Spent) -> str:
    """A line for each stage that worked; who waited; what was done again; GPUs. "" if none did."""
    if not spent.pools:
        return ""
    lines = [stage_text(spent, stage) for stage in STAGES if spent.busy[stage]]
    waiting = ", ".join(waiting_text(spent, pool) for pool in spent.pools)
    lines.append(f"waiting   {waiting}; {spent.seconds:.0f} s in all")
    again = f"{spent.lost} units after their worker died, {spent.retried} one sample at a time"
    lines.append(f"again     {again}, {spent.resent} requests to the store")
    if spent.left_out:
        lines.append(f"left out  {spent.left_out} samples, see raymetrics inspect")
    if spent.gpu_seconds:
        lines.append(f"GPUs      {spent.gpu_seconds:.0f} GPU-seconds held")
    return "\n".join(lines)


def stage_text(spent: Spent, stage: str) -> str:
    """How fast a stage is while it works."""
    text = f"{stage:9} {spent.rate(stage):.1f} rows/s in each worker, {spent.busy[stage]:.0f} s"
    written = f", {told(spent.written)} in {spent.shards} shards" if stage == STAGES[-1] else ""
    return text + written


def waiting_text(spent: Spent, pool: Workers) -> str:
    """How much of its time a pool had nothing to do, with the time that it started in."""
    workers = f"{pool.actors} worker{'s' if pool.actors > 1 else ''}"
    return f"{100 * spent.waiting(pool):.0f} % of {workers} ({', '.join(pool.stages)})"
