"""The sweep of a plan: its rows in a table as they stand there, and numbers over its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from raymetrics.reports.figures import Line, chart
from raymetrics.reports.points import Number, TradeoffsTable, cells, of_all_samples
from raymetrics.reports.snapshots_section import doubling
from raymetrics.reports.sweep_charts import Chart, Part, measured, shortened
from raymetrics.reports.sweep_charts import space as space_of
from raymetrics.reports.sweep_points import Point, Sweep

NAME, SOURCE, SAMPLES = "name", "source", "samples"
LINES = 10  # in a chart
UNFOLDED = 2  # settings whose charts are shown unasked
LETTERS = 40  # of a line's name in a legend
OVER = "Every number over this setting, a line for all rows that differ in nothing else."

Groups = list[tuple[str, list[Point]]]  # rows that one setting alone tells apart, with their name


def plan_table(sweep: Sweep) -> TradeoffsTable:
    """One line a row, in the order of the plan: its name, or else its source, then settings and
    numbers. The best ones are marked where all rows have equally many samples."""
    points, shown = sweep.points, of_all_samples(sweep)
    columns = dict.fromkeys(column for point in points for column in point.row)
    settings = [column for column in columns if column not in (NAME, SOURCE)]
    numbers = cells(points, shown, comparable=sweep.count is not None)
    rows: list[tuple[str, list[Number | None]]] = [
        (
            text(point, NAME) or text(point, SOURCE),
            [*(Number(text(point, c), False) for c in settings), *own],
        )
        for point, own in zip(points, numbers, strict=True)
    ]
    return TradeoffsTable([*settings, *(sweep.names[measure] for measure in shown)], rows)


def text(point: Point, column: str) -> str:
    """What a row has in a column; its source and samples also where the plan does not say them."""
    unsaid = {SOURCE: point.source, SAMPLES: ", ".join(point.side.samples)}
    return point.row.get(column) or unsaid.get(column, "")


def setting_parts(sweep: Sweep) -> list[Part]:
    """One for every setting with numbers, over which something can be drawn."""
    columns = dict.fromkeys(column for point in sweep.points for column in point.row)
    charts = {
        setting: list(over_setting(sweep, setting))
        for setting in columns
        if setting not in (NAME, SOURCE, SAMPLES)
    }
    drawn = [(setting, own) for setting, own in charts.items() if own]
    return [
        Part(setting, OVER, own, folded=i >= UNFOLDED) for i, (setting, own) in enumerate(drawn)
    ]


def over_setting(sweep: Sweep, setting: str) -> Iterator[Chart]:
    """Precision against recall, then every number over the setting."""
    found = groups(sweep.points, setting)
    note = f"The first {LINES} of {len(found)} lines." if len(found) > LINES else ""
    found = found[:LINES]
    for precision in sweep.measures("precision"):
        lines = []
        for style, (name, points) in enumerate(found):
            kept, (x, y) = measured(points, precision.of("recall"), precision)
            if len(kept) > 1:
                lines.append(Line(name, x, y, style, texts=ends(kept, setting)))
        if lines:
            title = f"Precision against recall, {space_of(sweep, precision)}"
            yield Chart(title, chart(lines, "recall", "precision"), note)
    for measure in of_all_samples(sweep):
        lines = []
        for style, (name, points) in enumerate(found):
            kept, (y,) = measured(points, measure)
            if len(kept) > 1:
                lines.append(Line(name, [value(point, setting) for point in kept], y, style))
        if lines:
            figure = chart(lines, setting, "", from_zero=True, log=doubling(lines))
            yield Chart(sweep.names[measure], figure, note)


def groups(points: Sequence[Point], setting: str) -> Groups:
    """The rows that differ in this setting alone, by its values, where there are several."""
    found: dict[tuple[tuple[str, str], ...], list[Point]] = {}
    for point in points:
        if math.isfinite(value(point, setting)):
            rest = {c: text(point, c) for c in point.row if c not in (NAME, setting)}
            found.setdefault(tuple(rest.items()), []).append(point)
    kept = {rest: sorted(of, key=lambda p: value(p, setting)) for rest, of in found.items()}
    kept = {rest: of for rest, of in kept.items() if len({value(p, setting) for p in of}) > 1}
    shared = set.intersection(*(set(rest) for rest in kept)) if kept else set()
    return [
        (shortened(in_words([item for item in rest if item not in shared]), LETTERS), of)
        for rest, of in kept.items()
    ]


def value(point: Point, setting: str) -> float:
    """The number that a row has in a column; not a finite one where it has none."""
    try:
        return float(point.row.get(setting, ""))
    except ValueError:
        return math.nan


def in_words(items: Sequence[tuple[str, str]]) -> str:
    """ "run.pkl, psi=0.5"."""
    return ", ".join(cell if column == SOURCE else f"{column}={cell}" for column, cell in items)


def ends(points: Sequence[Point], setting: str) -> list[str]:
    """The values at either end of a line."""
    texts = [""] * len(points)
    texts[0], texts[-1] = text(points[0], setting), text(points[-1], setting)
    return texts
