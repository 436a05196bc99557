"""Lay out the numbers of a sweep as a table, and draw them over the settings of its rows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raymetrics.generators.source_settings import distinguishing_names
from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.snapshots_section import needs_log_axis
from raymetrics.reports.sweep_charts import Chart, ChartGroup, select_measured, shorten_name
from raymetrics.reports.sweep_points import MeasureKey, Point, Sweep
from raymetrics.reports.terminal import align_columns, format_value

_NAME_COLUMN, _SOURCE_COLUMN, _SAMPLES_COLUMN = "name", "source", "samples"
MAX_LINES = 10  # in a chart
_MAX_UNFOLDED = 2  # settings whose charts are unfolded
_MAX_LETTERS = 40  # of a line's name in a legend
_BEST_MARK = "*"
_DIGITS = re.compile(r"(\d+)")
_SETTING_NOTE = "Every number over this setting, a line for all rows that differ in nothing else."

# Rows that differ in one setting alone, with a name.
RowGroups = list[tuple[str, list[Point]]]


@dataclass(frozen=True)
class TableCell:
    """A text, and whether it is the best value of its column."""

    text: str
    best: bool


@dataclass(frozen=True)
class TradeoffsTable:
    """One row for every generated set, one column for every setting and measure."""

    columns: list[str]
    rows: list[tuple[str, list[TableCell | None]]]

    def __str__(self) -> str:
        """Return the table as text, with a mark behind the best values."""
        texts = [["", *self.columns]]
        for name, cells in self.rows:
            marked_cells = [c.text + _BEST_MARK * c.best if c else "" for c in cells]
            texts.append([name, *marked_cells])
        has_best = any(cell and cell.best for _, cells in self.rows for cell in cells)
        note = f"\n\n{_BEST_MARK} the best of its column" if has_best else ""
        return align_columns(texts) + note


def points_table(sweep: Sweep) -> TradeoffsTable:
    """Return the values of all samples. Values of single labels are in charts only."""
    points = sorted(sweep.points, key=_row_order)
    measures = _whole_set_measures(sweep)
    names = distinguishing_names([point.source for point in points])
    rows = list(zip(names, _table_cells(points, measures), strict=True))
    return TradeoffsTable([sweep.name(measure) for measure in measures], rows)


def _whole_set_measures(sweep: Sweep) -> list[MeasureKey]:
    """Return the measures of whole sets; a measure of single labels alone is left out."""
    return [m for m in sweep.names if any((m, None) in p.results for p in sweep.points)]


def _table_cells(
    points: list[Point], measures: list[MeasureKey], *, comparable: bool = True
) -> list[list[TableCell | None]]:
    """Return the values of every set; the best ones are marked if the sets can be compared."""
    best_values = {m: _best_value(m, points) if comparable else None for m in measures}
    return [[_table_cell(point, m, best_values[m]) for m in measures] for point in points]


def _row_order(point: Point) -> tuple[object, ...]:
    """Return the key by which rows are sorted: sets without truncation first, then every strategy
    from the least truncated set to the most. Numbers in names are compared as numbers.
    """
    setting = point.source_setting
    base = [int(text) if text.isdecimal() else text for text in _DIGITS.split(setting.base)]
    return setting.strategy or "", base, -setting.amount


def _best_value(measure: MeasureKey, points: list[Point]) -> float | None:
    """Return the best value of a column; None if it has fewer than two values."""
    results = [p.results[measure, None] for p in points if (measure, None) in p.results]
    if len(results) < 2:
        return None
    values = [result.value for result in results]
    return min(values) if results[0].better == "lower" else max(values)


def _table_cell(point: Point, measure: MeasureKey, best_value: float | None) -> TableCell | None:
    """Return a value of the table; None if it was not measured."""
    result = point.results.get((measure, None))
    if result is None:
        return None
    return TableCell(format_value(result.value, result.spread), result.value == best_value)


def plan_table(sweep: Sweep) -> TradeoffsTable:
    """Return one line a row, in the order of the table of the sweep: the name or else the source,
    settings and values. The best values are marked if all rows have equally many samples.
    """
    points, measures = sweep.points, _whole_set_measures(sweep)
    columns = dict.fromkeys(column for point in points for column in point.row)
    settings = [column for column in columns if column not in (_NAME_COLUMN, _SOURCE_COLUMN)]
    numbers = _table_cells(points, measures, comparable=sweep.count is not None)
    rows: list[tuple[str, list[TableCell | None]]] = [
        (
            _cell_text(point, _NAME_COLUMN) or _cell_text(point, _SOURCE_COLUMN),
            [*(TableCell(_cell_text(point, c), False) for c in settings), *row_cells],
        )
        for point, row_cells in zip(points, numbers, strict=True)
    ]
    return TradeoffsTable([*settings, *(sweep.name(measure) for measure in measures)], rows)


def _cell_text(point: Point, column: str) -> str:
    """Return the text of a row in a column. A row without a source or samples of its own has those
    of its set.
    """
    defaults = {_SOURCE_COLUMN: point.source, _SAMPLES_COLUMN: ", ".join(point.side.samples)}
    return point.row.get(column) or defaults.get(column, "")


def setting_chart_groups(sweep: Sweep) -> list[ChartGroup]:
    """Return a group of charts for every setting whose cells are numbers."""
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
    for measure in _whole_set_measures(sweep):
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
            other_cells = {
                c: _cell_text(point, c) for c in point.row if c not in (_NAME_COLUMN, setting)
            }
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
    texts = (cell if column == _SOURCE_COLUMN else f"{column}={cell}" for column, cell in items)
    return shorten_name(", ".join(texts), _MAX_LETTERS)


def _end_texts(points: Sequence[Point], setting: str) -> list[str]:
    """Return the texts of the points of a line: the setting at either end, else empty texts."""
    texts = [""] * len(points)
    texts[0], texts[-1] = _cell_text(points[0], setting), _cell_text(points[-1], setting)
    return texts
