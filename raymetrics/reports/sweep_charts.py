"""Draw the numbers of a sweep over the settings of its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from raymetrics.reports.chart_groups import Chart, ChartGroup, select_measured, shorten_name
from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.snapshots_section import needs_log_axis
from raymetrics.reports.sweep_points import (
    NAME_COLUMN,
    SAMPLES_COLUMN,
    SOURCE_COLUMN,
    Point,
    Sweep,
)

MAX_LINES = 10  # in a chart
_MAX_UNFOLDED = 2  # settings whose charts are unfolded
_MAX_LETTERS = 40  # of a line's name in a legend
_SETTING_NOTE = "Every number over this setting, a line for all rows that differ in nothing else."

# Rows that differ in one setting alone, with a name.
RowGroups = list[tuple[str, list[Point]]]


def setting_chart_groups(sweep: Sweep) -> list[ChartGroup]:
    """Return a group of charts for every setting whose cells are numbers."""
    columns = dict.fromkeys(column for point in sweep.points for column in point.row)
    charts = {
        setting: list(charts_over_setting(sweep, setting))
        for setting in columns
        if setting not in (NAME_COLUMN, SOURCE_COLUMN, SAMPLES_COLUMN)
    }
    drawn_settings = [
        (setting, setting_charts) for setting, setting_charts in charts.items() if setting_charts
    ]
    return [
        ChartGroup(setting, _SETTING_NOTE, setting_charts, folded=i >= _MAX_UNFOLDED)
        for i, (setting, setting_charts) in enumerate(drawn_settings)
    ]


def charts_over_setting(sweep: Sweep, setting: str) -> Iterator[Chart]:
    """Yield charts of precision against recall, then of every value over the setting."""
    line_groups = group_by_other_settings(sweep.points, setting)
    too_many = len(line_groups) > MAX_LINES
    note = f"The first {MAX_LINES} of {len(line_groups)} lines." if too_many else ""
    line_groups = line_groups[:MAX_LINES]
    for precision in sweep.measures("precision"):
        lines = []
        for style, (name, points) in enumerate(line_groups):
            measured_points, (x, y) = select_measured(
                points, precision.with_metric("recall"), precision
            )
            if len(measured_points) > 1:
                lines.append(Line(name, x, y, style, texts=_end_texts(measured_points, setting)))
        if lines:
            title = f"Precision against recall, {sweep.names[precision].space}"
            yield Chart(title, line_chart(lines, "recall", "precision"), note)
    for measure in sweep.whole_set_measures():
        lines = []
        for style, (name, points) in enumerate(line_groups):
            measured_points, (y,) = select_measured(points, measure)
            if len(measured_points) > 1:
                x = [_setting_value(point, setting) for point in measured_points]
                lines.append(Line(name, x, y, style))
        if lines:
            figure = line_chart(lines, setting, "", from_zero=True, log=needs_log_axis(lines))
            yield Chart(sweep.name(measure), figure, note)


def group_by_other_settings(points: Sequence[Point], setting: str) -> RowGroups:
    """Return the groups of rows that differ in this setting alone, sorted by its values."""
    points_by_cells: dict[tuple[tuple[str, str], ...], list[Point]] = {}
    for point in points:
        if math.isfinite(_setting_value(point, setting)):
            other_cells = {c: point.cell(c) for c in point.row if c not in (NAME_COLUMN, setting)}
            points_by_cells.setdefault(tuple(other_cells.items()), []).append(point)
    varied_groups = {
        other_cells: sorted(group_points, key=lambda p: _setting_value(p, setting))
        for other_cells, group_points in points_by_cells.items()
        if len({_setting_value(p, setting) for p in group_points}) > 1
    }
    if not varied_groups:
        return []
    shared = set.intersection(*map(set, varied_groups))
    return [
        (_format_cells([item for item in other_cells if item not in shared]), group_points)
        for other_cells, group_points in varied_groups.items()
    ]


def _setting_value(point: Point, setting: str) -> float:
    """Return the number in a cell; NaN if the cell holds none."""
    try:
        return float(point.row.get(setting, ""))
    except ValueError:
        return math.nan


def _format_cells(items: Sequence[tuple[str, str]]) -> str:
    """Return cells as the name of a line: "run.pkl, psi=0.5"."""
    texts = (cell if column == SOURCE_COLUMN else f"{column}={cell}" for column, cell in items)
    return shorten_name(", ".join(texts), _MAX_LETTERS)


def _end_texts(points: Sequence[Point], setting: str) -> list[str]:
    """Return the texts of the points of a line: the setting at either end, else empty texts."""
    texts = [""] * len(points)
    texts[0], texts[-1] = points[0].cell(setting), points[-1].cell(setting)
    return texts
