"""The two sides of results: which they are, and how many samples they hold."""

from __future__ import annotations

from dataclasses import replace

from raymetrics import sample_ranges
from raymetrics.results import Side


def of(side: Side) -> tuple[object, ...]:
    """What tells one side from another."""
    return side.digest, side.samples, side.selection.get("digest")


def whole(side: Side) -> Side:
    """The side with the count of all its samples, where a result is of one label only."""
    if not side.samples:
        return side
    return replace(side, count=sample_ranges.count(map(sample_ranges.parse, side.samples)))
