"""All numbers of a sweep in one table, with the best of every column."""

from __future__ import annotations

import re
from dataclasses import dataclass

from raymetrics.reports.sweep_points import Measure, Point, Sweep, varying
from raymetrics.reports.terminal import aligned, number

BEST = "*"
DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Number:
    """A cell: a number, and whether none of its column is better."""

    text: str
    best: bool


@dataclass(frozen=True)
class TradeoffsTable:
    """One row for every generated set, one column for every measure."""

    columns: list[str]
    rows: list[tuple[str, list[Number | None]]]

    def __str__(self) -> str:
        """As text, with a mark behind the best."""
        texts = [["", *self.columns]]
        for name, cells in self.rows:
            marked = [c.text + BEST * c.best if c else "" for c in cells]
            texts.append([name, *marked])
        best = any(cell and cell.best for _, cells in self.rows for cell in cells)
        note = f"\n\n{BEST} the best of its column" if best else ""
        return aligned(texts) + note


def points_table(sweep: Sweep) -> TradeoffsTable:
    """The numbers of all samples; those by label are drawn alone."""
    points = sorted(sweep.points, key=standing)
    shown = of_all_samples(sweep)
    rows = list(zip(varying([p.source for p in points]), cells(points, shown), strict=True))
    return TradeoffsTable([sweep.names[measure] for measure in shown], rows)


def of_all_samples(sweep: Sweep) -> list[Measure]:
    """What was measured of whole sets, and not label by label alone."""
    return [m for m in sweep.names if any((m, None) in p.results for p in sweep.points)]


def cells(
    points: list[Point], shown: list[Measure], *, comparable: bool = True
) -> list[list[Number | None]]:
    """The numbers of every set; the best ones are marked where they can be compared."""
    best = {measure: best_of(measure, points) if comparable else None for measure in shown}
    return [[cell(point, measure, best[measure]) for measure in shown] for point in points]


def standing(point: Point) -> tuple[object, ...]:
    """What rows are sorted by: no truncation first, then every strategy from the least to the
    most; numbers in names as numbers."""
    place = point.place
    base = [int(text) if text.isdecimal() else text for text in DIGITS.split(place.base)]
    return place.strategy or "", base, -place.amount


def best_of(measure: Measure, points: list[Point]) -> float | None:
    """The best value of a column; None where there are not two."""
    found = [p.results[measure, None] for p in points if (measure, None) in p.results]
    if len(found) < 2:
        return None
    values = [result.value for result in found]
    return min(values) if found[0].better == "lower" else max(values)


def cell(point: Point, measure: Measure, best: float | None) -> Number | None:
    """A number of the table; None where it was not measured."""
    result = point.results.get((measure, None))
    if result is None:
        return None
    return Number(number(result.value, result.spread), result.value == best)
