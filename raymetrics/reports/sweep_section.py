"""Sweeps on a page: precision against recall, numbers over settings, all of them in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymetrics.reports.points import TradeoffsTable, points_table
from raymetrics.reports.snapshots_section import snapshot_parts
from raymetrics.reports.sweep_charts import Part
from raymetrics.reports.sweep_points import Sweep, sweep, sweeps
from raymetrics.reports.sweep_tables import plan_table, setting_parts
from raymetrics.reports.truncation_section import truncation_parts
from raymetrics.results import Result


@dataclass(frozen=True)
class TradeoffSection:
    """All that a page shows of a sweep."""

    title: str
    parts: list[Part]
    table: TradeoffsTable
    planned: bool  # rows of a plan, so that the table comes first


def tradeoff_sections(found: Sequence[Result]) -> list[TradeoffSection]:
    """One for every real set against which truncated sets, snapshots, or the rows of a plan were
    measured."""
    made = [section(of_real) for of_real in sweeps(found)]
    return [one for one in made if one.parts or one.planned]


def section(swept: Sweep) -> TradeoffSection:
    """What a page shows of a sweep."""
    count = "" if swept.count is None else f" of {swept.count:,} samples"
    title = f"{len(swept.points)} generated sets{count} against {swept.real.source}"
    parts = setting_parts(swept) if planned(swept) else []
    if not parts and swept.count is not None:
        parts = [*truncation_parts(swept), *snapshot_parts(swept)]
    return TradeoffSection(title, parts, table_of(swept), planned(swept))


def planned(swept: Sweep) -> bool:
    """Whether these are rows of a plan."""
    return any(point.row for point in swept.points)


def table_of(swept: Sweep) -> TradeoffsTable:
    """The numbers side by side, as the plan has them if there is one."""
    return plan_table(swept) if planned(swept) else points_table(swept)


def tradeoffs_table(found: Sequence[Result]) -> TradeoffsTable:
    """The numbers of generated sets against one real set, side by side."""
    return table_of(sweep(found))
