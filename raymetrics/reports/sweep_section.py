"""Put a sweep on a page: charts of its settings, and all values in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raymetrics.reports.chart_groups import ChartGroup
from raymetrics.reports.snapshots_section import snapshot_chart_groups
from raymetrics.reports.sweep_charts import setting_chart_groups
from raymetrics.reports.sweep_points import Sweep, group_sweeps, make_sweep
from raymetrics.reports.sweep_tables import (
    TradeoffsTable,
    plan_table,
    points_table,
)
from raymetrics.reports.truncation_section import truncation_chart_groups
from raymetrics.results import Result


@dataclass(frozen=True)
class TradeoffSection:
    """The part of a page that shows a sweep."""

    title: str
    chart_groups: list[ChartGroup]
    table: TradeoffsTable
    is_plan: bool  # rows of a table that the user wrote; the numbers come first


def tradeoff_sections(results: Sequence[Result]) -> list[TradeoffSection]:
    """Return a section for every real set with which truncated sets, snapshots, or the rows of a
    table were compared.
    """
    sections = [_tradeoff_section(sweep_group) for sweep_group in group_sweeps(results)]
    return [candidate for candidate in sections if candidate.chart_groups or candidate.is_plan]


def _tradeoff_section(sweep_group: Sweep) -> TradeoffSection:
    """Return the section of a sweep."""
    count = "" if sweep_group.count is None else f" of {sweep_group.count:,} samples"
    title = f"{len(sweep_group.points)} generated sets{count} against {sweep_group.real.source}"
    chart_groups = setting_chart_groups(sweep_group) if _is_plan(sweep_group) else []
    if not chart_groups and sweep_group.count is not None:
        chart_groups = [*truncation_chart_groups(sweep_group), *snapshot_chart_groups(sweep_group)]
    return TradeoffSection(title, chart_groups, _numbers_table(sweep_group), _is_plan(sweep_group))


def _is_plan(sweep_group: Sweep) -> bool:
    """Return whether these are rows of a table that the user wrote."""
    return any(point.row for point in sweep_group.points)


def _numbers_table(sweep_group: Sweep) -> TradeoffsTable:
    """Return the numbers side by side, in the order of the user's table if there is one."""
    return plan_table(sweep_group) if _is_plan(sweep_group) else points_table(sweep_group)


def tradeoffs_table(results: Sequence[Result]) -> TradeoffsTable:
    """Return the numbers of generated sets against one real set, side by side."""
    return _numbers_table(make_sweep(results))
