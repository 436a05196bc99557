"""All numbers of a sweep in one table, with the best of every column."""

from __future__ import annotations

import re
from dataclasses import dataclass

from raymetrics.reports.sweep_points import MeasureKey, Point, Sweep, distinguishing_names
from raymetrics.reports.terminal import align_columns, format_value

_BEST_MARK = "*"
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class TableCell:
    """A cell: a number, and whether none of its column is better."""

    text: str
    best: bool


@dataclass(frozen=True)
class TradeoffsTable:
    """One row for every generated set, one column for every measure."""

    columns: list[str]
    rows: list[tuple[str, list[TableCell | None]]]

    def __str__(self) -> str:
        """As text, with a mark behind the best."""
        texts = [["", *self.columns]]
        for name, cells in self.rows:
            marked_cells = [c.text + _BEST_MARK * c.best if c else "" for c in cells]
            texts.append([name, *marked_cells])
        has_best = any(cell and cell.best for _, cells in self.rows for cell in cells)
        note = f"\n\n{_BEST_MARK} the best of its column" if has_best else ""
        return align_columns(texts) + note


def points_table(sweep: Sweep) -> TradeoffsTable:
    """The numbers of all samples; those by label are drawn alone."""
    points = sorted(sweep.points, key=_row_order)
    measures = whole_set_measures(sweep)
    rows = list(
        zip(
            distinguishing_names([p.source for p in points]),
            table_cells(points, measures),
            strict=True,
        )
    )
    return TradeoffsTable([sweep.names[measure] for measure in measures], rows)


def whole_set_measures(sweep: Sweep) -> list[MeasureKey]:
    """What was measured of whole sets, and not label by label alone."""
    return [m for m in sweep.names if any((m, None) in p.results for p in sweep.points)]


def table_cells(
    points: list[Point], measures: list[MeasureKey], *, comparable: bool = True
) -> list[list[TableCell | None]]:
    """The numbers of every set; the best ones are marked where they can be compared."""
    best_values = {
        measure: _best_value(measure, points) if comparable else None for measure in measures
    }
    return [
        [_table_cell(point, measure, best_values[measure]) for measure in measures]
        for point in points
    ]


def _row_order(point: Point) -> tuple[object, ...]:
    """What rows are sorted by: no truncation first, then every strategy from the least to the
    most; numbers in names as numbers."""
    setting = point.source_setting
    base = [int(text) if text.isdecimal() else text for text in _DIGITS.split(setting.base)]
    return setting.strategy or "", base, -setting.amount


def _best_value(measure: MeasureKey, points: list[Point]) -> float | None:
    """The best value of a column; None where there are not two."""
    measured_results = [p.results[measure, None] for p in points if (measure, None) in p.results]
    if len(measured_results) < 2:
        return None
    values = [result.value for result in measured_results]
    return min(values) if measured_results[0].better == "lower" else max(values)


def _table_cell(point: Point, measure: MeasureKey, best_value: float | None) -> TableCell | None:
    """A number of the table; None where it was not measured."""
    result = point.results.get((measure, None))
    if result is None:
        return None
    return TableCell(format_value(result.value, result.spread), result.value == best_value)
