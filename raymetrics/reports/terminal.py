"""Write results, shard sets and the usage of workers as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.usage import STAGES, PoolUsage, StreamUsage
from raymetrics.distributed.resources import format_bytes
from raymetrics.printable import escape_unprintable
from raymetrics.results import Result, Side
from raymetrics.shards.comparability import size_text
from raymetrics.shards.shard_set import ShardSet

_BETTER_TEXTS = {"lower": "lower is better", "higher": "higher is better"}


def format_value(
    value: float, spread: float | None = None, interval: Mapping[str, Any] | None = None
) -> str:
    """Return five significant digits, the spread and the interval with as many decimals."""
    text = f"{value:#.5g}"
    decimals = len(text.partition(".")[2].partition("e")[0]) if "e" not in text else 7
    if spread is not None:
        text += f" ± {spread:.{decimals}f}"
    if interval:
        text += f" [{interval['low']:.{decimals}f}, {interval['high']:.{decimals}f}]"
    return text


def describe_interval(result: Result) -> str:
    """Return what an interval covers, in words; "" for none."""
    if not result.interval:
        return ""
    sides = " and ".join(result.interval["varies"])
    method = {"influences": "infinitesimal jackknife", "groups": "jackknife over groups"}
    return (
        f"{100 * result.interval['level']:g} % interval of the mean over other {sides} samples, as "
        f"many ({method[result.interval['method']]})"
    )


def format_convention(result: Result) -> str:
    """Return the convention in words: "k=3, self excluded"."""
    shown_fields = {
        key: value
        for key, value in result.convention.items()
        if key not in ("features", "arithmetic", "kernel", "estimate", "draws")
        and not key.startswith("reference_")
    }
    return ", ".join(f"{name}={value}" for name, value in shown_fields.items())


def _format_count(side: Side) -> str:
    """Return how many samples a side has, or "unknown"."""
    return "unknown" if side.count is None else str(side.count)


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Return cells as text, a line for each row, with columns as wide as their widest cell.

    Lines are never wrapped, and have no color, so that other programs can read them. Characters
    that cannot be printed are escaped.
    """
    texts = [[escape_unprintable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in texts)
    return "\n".join(lines)


def results_table(results: Sequence[Result]) -> str:
    """Return one line a result: label, value, which values are better, samples, convention."""
    header = ("metric", "value", "", "real", "generated", "convention")
    rows = [
        (
            result.label,
            format_value(result.value, result.spread, result.interval),
            _BETTER_TEXTS[result.better],
            _format_count(result.real),
            _format_count(result.generated),
            format_convention(result),
        )
        for result in results
    ]
    dashes = ["-" * max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [align_columns([header, dashes, *rows]), *_interval_lines(results)]
    return "\n".join([*lines, *warning_lines(results)])


def _interval_lines(results: Sequence[Result]) -> list[str]:
    """Return what the intervals cover, a line for each kind with the numbers that have it."""
    names: dict[str, list[str]] = {}
    for result in results:
        names.setdefault(describe_interval(result), []).append(result.short_name)
    return [
        f"[low, high] of {', '.join(dict.fromkeys(of_kind))}: {kind}"
        for kind, of_kind in names.items()
        if kind
    ]


def warning_lines(results: Sequence[Result]) -> list[str]:
    """Return each warning once, with the numbers that it is about, a line each."""
    labels: dict[str, list[str]] = {}
    for result in results:
        for warning in result.warnings:
            # One name for all labels of a measure.
            name = result.measure_name if "label" in result.subset else result.label
            labels.setdefault(warning, []).append(name)
    return [
        escape_unprintable(f"warning: {', '.join(dict.fromkeys(about))}: {warning}")
        for warning, about in labels.items()
    ]


def describe_shard_set(shards: ShardSet) -> str:
    """Return the contents of a set, and how to make what is missing; one fact a line."""
    spec = shards.spec
    columns = ", ".join(f"{c.name} float32 [{c.dimension}]" for c in spec.columns)
    expected = sample_ranges.count_ids(spec.samples)
    facts = {
        "shards": f"{len(shards.present)} at {shards.uri}",
        "source": spec.source,
        "samples": f"{len(shards)} of {expected} ({_format_ranges(spec.samples)})",
        "image size": size_text(spec.image_size),
        "columns": f"sample_id int64, {'label int64, ' if spec.labels else ''}"
        f"{'prompt string, ' if spec.prompts else ''}{columns}",
        "resize": ", ".join(f"{e['name']}: {e.get('resize', 'unknown')}" for e in spec.extractors),
        "fingerprint": spec.fingerprint,
        "sealed": f"yes, digest {shards.seal['digest']}" if shards.seal else "no",
    }
    machines = (shards.seal or {}).get("made_on", [])
    if len(machines) > 1:  # their last bits may differ
        facts["made on"] = f"{len(machines)} kinds of machine: {'; '.join(machines)}"
    if shards.left_out:
        texts = [f"{sample} ({reason})" for sample, reason in shards.left_out.items()]
        rest = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
        facts["left out"] = ", ".join(texts[:5]) + rest
    if shards.missing:
        facts["missing"] = _format_ranges(shards.missing)
    if shards.missing or not shards.seal:
        facts["make it"] = shards.extraction_command()
    return "\n".join(escape_unprintable(f"{name:12}  {fact}") for name, fact in facts.items())


def _format_ranges(ids: list[range] | tuple[range, ...]) -> str:
    """Return "0-99, 200-299"."""
    return ", ".join(map(sample_ranges.format_range, ids))


def format_usage(usage: StreamUsage) -> str:
    """Return the usage of workers; "" if none worked.

    One line each for the stages that worked, waiting, repeated work, samples left out, and GPUs.
    """
    if not usage.pools:
        return ""
    lines = [_format_stage(usage, stage) for stage in STAGES if usage.busy_seconds[stage]]
    waiting = ", ".join(_format_waiting(usage, pool) for pool in usage.pools)
    lines.append(f"waiting   {waiting}; {usage.seconds:.0f} s in all")
    lines.append(
        f"again     {usage.repeated_shards} shards after their worker died, "
        f"{usage.single_sample_batches} batches one sample at a time, "
        f"{usage.store_retries} requests to the store"
    )
    if usage.left_out:
        lines.append(f"left out  {usage.left_out} samples, see raymetrics inspect")
    if usage.gpu_seconds:
        lines.append(f"GPUs      {usage.gpu_seconds:.0f} GPU-seconds held")
    return "\n".join(lines)


def _format_stage(usage: StreamUsage, stage: str) -> str:
    """Return the speed of a stage while it works."""
    rate, seconds = usage.rate(stage), usage.busy_seconds[stage]
    text = f"{stage:9} {rate:.1f} rows/s in each worker, {seconds:.0f} s"
    if stage != STAGES[-1]:
        return text
    return f"{text}, {format_bytes(usage.bytes_written)} in {usage.shards} shards"


def _format_waiting(usage: StreamUsage, pool: PoolUsage) -> str:
    """Return the share of its time that a pool of workers waited, from its start on."""
    workers = f"{pool.actors} worker{'s' if pool.actors > 1 else ''}"
    return f"{100 * usage.waiting_share(pool):.0f} % of {workers} ({', '.join(pool.stages)})"
