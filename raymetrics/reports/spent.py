"""What a stream used, in words."""

from __future__ import annotations

from raymetrics.distributed.extraction.usage import STAGES, PoolUsage, StreamUsage
from raymetrics.distributed.resources import format_bytes


def format_usage(usage: StreamUsage) -> str:
    """A line for each stage that worked; who waited; what was done again; GPUs. "" if none did."""
    if not usage.pools:
        return ""
    lines = [_format_stage(usage, stage) for stage in STAGES if usage.busy_seconds[stage]]
    waiting = ", ".join(_format_waiting(usage, pool) for pool in usage.pools)
    lines.append(f"waiting   {waiting}; {usage.seconds:.0f} s in all")
    repeated = f"{usage.lost_units} units after their worker died, {usage.retried_units} one sample at a time"
    lines.append(f"again     {repeated}, {usage.store_retries} requests to the store")
    if usage.left_out:
        lines.append(f"left out  {usage.left_out} samples, see raymetrics inspect")
    if usage.gpu_seconds:
        lines.append(f"GPUs      {usage.gpu_seconds:.0f} GPU-seconds held")
    return "\n".join(lines)


def _format_stage(usage: StreamUsage, stage: str) -> str:
    """How fast a stage is while it works."""
    text = f"{stage:9} {usage.rate(stage):.1f} rows/s in each worker, {usage.busy_seconds[stage]:.0f} s"
    written_text = (
        f", {format_bytes(usage.bytes_written)} in {usage.shards} shards"
        if stage == STAGES[-1]
        else ""
    )
    return text + written_text


def _format_waiting(usage: StreamUsage, pool: PoolUsage) -> str:
    """How much of its time a pool had nothing to do, with the time that it started in."""
    workers = f"{pool.actors} worker{'s' if pool.actors > 1 else ''}"
    return f"{100 * usage.waiting_share(pool):.0f} % of {workers} ({', '.join(pool.stages)})"
