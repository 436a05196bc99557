"""The sweep of a plan: its rows in a table as they stand there, and numbers over its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.points import TableCell, TradeoffsTable, table_cells, whole_set_measures
from raymetrics.reports.snapshots_section import needs_log_axis
from raymetrics.reports.sweep_charts import Chart, ChartGroup, select_measured, shorten_name
from raymetrics.reports.sweep_charts import space_name as space_of
from raymetrics.reports.sweep_points import Point, Sweep

_NAME_COLUMN, _SOURCE_COLUMN, _SAMPLES_COLUMN = "name", "source", "samples"
MAX_LINES = 10  # in a chart
_MAX_UNFOLDED = 2  # settings whose charts are shown unasked
_MAX_LETTERS = 40  # of a line's name in a legend
_SETTING_NOTE = "Every number over this setting, a line for all rows that differ in nothing else."

RowGroups = list[
    tuple[str, list[Point]]
]  # rows that one setting alone tells apart, with their name


def plan_table(sweep: Sweep) -> TradeoffsTable:
    """One line a row, in the order of the plan: its name, or else its source, then settings and
    numbers. The best ones are marked where all rows have equally many samples."""
    points, measures = sweep.points, whole_set_measures(sweep)
    columns = dict.fromkeys(column for point in points for column in point.row)
    settings = [column for column in columns if column not in (_NAME_COLUMN, _SOURCE_COLUMN)]
    numbers = table_cells(points, measures, comparable=sweep.count is not None)
    rows: list[tuple[str, list[TableCell | None]]] = [
        (
            _cell_text(point, _NAME_COLUMN) or _cell_text(point, _SOURCE_COLUMN),
            [*(TableCell(_cell_text(point, c), False) for c in settings), *row_cells],
        )
        for point, row_cells in zip(points, numbers, strict=True)
    ]
    return TradeoffsTable([*settings, *(sweep.names[measure] for measure in measures)], rows)


def _cell_text(point: Point, column: str) -> str:
    """What a row has in a column; its source and samples also where the plan does not say them."""
    defaults = {_SOURCE_COLUMN: point.source, _SAMPLES_COLUMN: ", ".join(point.side.samples)}
    return point.row.get(column) or defaults.get(column, "")


def setting_chart_groups(sweep: Sweep) -> list[ChartGroup]:
    """One for every setting with numbers, over which something can be drawn."""
    columns = dict.fromkeys(column for point in sweep.points for column in point.row)
    charts = {
        setting: list(charts_over_setting(sweep, setting))
        for setting in columns
        if setting not in (_NAME_COLUMN, _SOURCE_COLUMN, _SAMPLES_COLUMN)
    }
    drawn_settings = [
        (setting, setting_charts) for setting, setting_charts in charts.items() if setting_charts
    ]
    return [
        ChartGroup(setting, _SETTING_NOTE, setting_charts, folded=i >= _MAX_UNFOLDED)
        for i, (setting, setting_charts) in enumerate(drawn_settings)
    ]


def charts_over_setting(sweep: Sweep, setting: str) -> Iterator[Chart]:
    """Precision against recall, then every number over the setting."""
    line_groups = group_by_other_settings(sweep.points, setting)
    note = (
        f"The first {MAX_LINES} of {len(line_groups)} lines."
        if len(line_groups) > MAX_LINES
        else ""
    )
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
            title = f"Precision against recall, {space_of(sweep, precision)}"
            yield Chart(title, line_chart(lines, "recall", "precision"), note)
    for measure in whole_set_measures(sweep):
        lines = []
        for style, (name, points) in enumerate(line_groups):
            measured_points, (y,) = select_measured(points, measure)
            if len(measured_points) > 1:
                lines.append(
                    Line(
                        name,
                        [_setting_value(point, setting) for point in measured_points],
                        y,
                        style,
                    )
                )
        if lines:
            figure = line_chart(lines, setting, "", from_zero=True, log=needs_log_axis(lines))
            yield Chart(sweep.names[measure], figure, note)


def group_by_other_settings(points: Sequence[Point], setting: str) -> RowGroups:
    """The rows that differ in this setting alone, by its values, where there are several."""
    points_by_cells: dict[tuple[tuple[str, str], ...], list[Point]] = {}
    for point in points:
        if math.isfinite(_setting_value(point, setting)):
            other_cells = {
                c: _cell_text(point, c) for c in point.row if c not in (_NAME_COLUMN, setting)
            }
            points_by_cells.setdefault(tuple(other_cells.items()), []).append(point)
    varied_groups = {
        other_cells: sorted(group_points, key=lambda p: _setting_value(p, setting))
        for other_cells, group_points in points_by_cells.items()
    }
    varied_groups = {
        other_cells: group_points
        for other_cells, group_points in varied_groups.items()
        if len({_setting_value(p, setting) for p in group_points}) > 1
    }
    shared = (
        set.intersection(*(set(other_cells) for other_cells in varied_groups))
        if varied_groups
        else set()
    )
    return [
        (
            shorten_name(
                _format_cells([item for item in other_cells if item not in shared]), _MAX_LETTERS
            ),
            group_points,
        )
        for other_cells, group_points in varied_groups.items()
    ]


def _setting_value(point: Point, setting: str) -> float:
    """The number that a row has in a column; not a finite one where it has none."""
    try:
        return float(point.row.get(setting, ""))
    except ValueError:
        return math.nan


def _format_cells(items: Sequence[tuple[str, str]]) -> str:
    """ "run.pkl, psi=0.5"."""
    return ", ".join(
        cell if column == _SOURCE_COLUMN else f"{column}={cell}" for column, cell in items
    )


def _end_texts(points: Sequence[Point], setting: str) -> list[str]:
    """The values at either end of a line."""
    texts = [""] * len(points)
    texts[0], texts[-1] = _cell_text(points[0], setting), _cell_text(points[-1], setting)
    return texts
