"""A shard set in words."""

from __future__ import annotations

from raymetrics import sample_ranges
from raymetrics.printable import escape_unprintable
from raymetrics.shards.comparability import size_text
from raymetrics.shards.shard_set import ShardSet


def describe_shard_set(shards: ShardSet) -> str:
    """What is in a set, what is missing, and the command that makes it; one fact a line."""
    spec = shards.spec
    columns = ", ".join(f"{c.name} float32 [{c.dimension}]" for c in spec.columns)
    facts = {
        "shards": f"{len(shards.present)} at {shards.uri}",
        "source": spec.source,
        "samples": f"{len(shards)} of {sample_ranges.count_ids(spec.samples)} ({_format_ranges(spec.samples)})",
        "image size": size_text(spec.image_size),
        "columns": f"sample_id int64, {'label int64, ' if spec.labels else ''}{columns}",
        "resize": ", ".join(f"{e['name']}: {e.get('resize', 'unknown')}" for e in spec.extractors),
        "fingerprint": spec.fingerprint,
        "sealed": f"yes, digest {shards.seal['digest']}" if shards.seal else "no",
    }
    machines = (shards.seal or {}).get("made_on", [])
    if len(machines) > 1:  # between which the last bits differ
        facts["made on"] = f"{len(machines)} kinds of machine: {'; '.join(machines)}"
    if shards.left_out:
        first_left_out = [
            f"{sample} ({reason})" for sample, reason in [*shards.left_out.items()][:5]
        ]
        remaining = len(shards.left_out) - len(first_left_out)
        facts["left out"] = ", ".join(first_left_out) + (
            f" and {remaining} more" if remaining else ""
        )
    if shards.missing:
        facts["missing"] = _format_ranges(shards.missing)
    if shards.missing or not shards.seal:
        facts["make it"] = shards.extraction_command()
    return "\n".join(escape_unprintable(f"{name:12}  {fact}") for name, fact in facts.items())


def _format_ranges(ids: list[range] | tuple[range, ...]) -> str:
    """ "0-99, 200-299"."""
    return ", ".join(map(sample_ranges.format_range, ids))
