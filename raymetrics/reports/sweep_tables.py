"""Lay out the numbers of a sweep as a table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from raymetrics.generators.source_settings import distinguishing_names
from raymetrics.reports.sweep_points import (
    NAME_COLUMN,
    SOURCE_COLUMN,
    MeasureKey,
    Point,
    Sweep,
)
from raymetrics.reports.terminal import align_columns, format_value

_BEST_MARK = "*"
_DIGITS = re.compile(r"(\d+)")


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
    measures = sweep.whole_set_measures()
    names = distinguishing_names([point.source for point in points])
    rows = list(zip(names, _table_cells(points, measures), strict=True))
    return TradeoffsTable([sweep.name(measure) for measure in measures], rows)


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
    points, measures = sweep.points, sweep.whole_set_measures()
    columns = dict.fromkeys(column for point in points for column in point.row)
    settings = [column for column in columns if column not in (NAME_COLUMN, SOURCE_COLUMN)]
    numbers = _table_cells(points, measures, comparable=sweep.count is not None)
    rows: list[tuple[str, list[TableCell | None]]] = [
        (
            point.cell(NAME_COLUMN) or point.cell(SOURCE_COLUMN),
            [*(TableCell(point.cell(c), False) for c in settings), *row_cells],
        )
        for point, row_cells in zip(points, numbers, strict=True)
    ]
    return TradeoffsTable([*settings, *(sweep.name(measure) for measure in measures)], rows)
