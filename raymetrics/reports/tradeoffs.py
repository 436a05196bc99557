"""Sweeps on a page: precision against recall, distances, all numbers in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymetrics.reports.charts import Part
from raymetrics.reports.points import TradeoffsTable, points_table
from raymetrics.reports.snapshots import snapshot_parts
from raymetrics.reports.sweeps import Sweep, sweep, sweeps
from raymetrics.reports.truncation import truncation_parts
from raymetrics.results import Result


@dataclass(frozen=True)
class TradeoffSection:
    """All that a page shows of a sweep."""

    title: str
    parts: list[Part]
    table: TradeoffsTable


def tradeoff_sections(found: Sequence[Result]) -> list[TradeoffSection]:
    """One for every real set against which truncated sets or snapshots were measured."""
    made = [section(of_real) for of_real in sweeps(found)]
    return [one for one in made if one.parts]


def section(swept: Sweep) -> TradeoffSection:
    """What a page shows of a sweep."""
    count = "" if swept.count is None else f" of {swept.count:,} samples"
    title = f"{len(swept.points)} generated sets{count} against {swept.real.source}"
    parts = [*truncation_parts(swept), *snapshot_parts(swept)]
    return TradeoffSection(title, parts, points_table(swept))


def tradeoffs_table(found: Sequence[Result]) -> TradeoffsTable:
    """The numbers of generated sets against one real set, side by side."""
    return points_table(sweep(found))
