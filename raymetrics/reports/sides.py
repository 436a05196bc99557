"""The two sides of results: which they are, and how many samples they hold."""

from __future__ import annotations

from dataclasses import replace

from raymetrics import sample_ranges
from raymetrics.results import Side


def side_key(side: Side) -> tuple[object, ...]:
    """What tells one side from another."""
    return side.digest, side.samples, side.selection.get("digest")


def whole_side(side: Side) -> Side:
    """The side with the count of all its samples, where a result is of one label only."""
    if not side.samples:
        return side
    return replace(
        side, count=sample_ranges.count_ids(map(sample_ranges.parse_range, side.samples))
    )
