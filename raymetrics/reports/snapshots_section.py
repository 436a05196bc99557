"""Snapshots of training runs: Figure 6 of Kynkaanniemi et al. (2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from raymetrics.metrics.pareto import pareto_frontier
from raymetrics.reports.figures import Line, chart
from raymetrics.reports.sweep_charts import Chart, Part, measured, shortened
from raymetrics.reports.sweep_charts import space as space_of
from raymetrics.reports.sweep_points import Measure, Point, Sweep, varying
from raymetrics.reports.terminal import number

Runs = dict[str, list[Point]]  # the snapshots of every run, as they were trained
FEWEST = 3  # snapshots that make a run; two files with numbers in their names may be anything
BEST = "*PXD"
RUN = 50  # letters of a run's name in a legend
NOTE = (
    "Every point is a snapshot; the line is the Pareto frontier of a run: whatever the tradeoff "
    "that is wanted, the best snapshot for it is on the line. Large markers: the best by distance."
)


def snapshot_parts(sweep: Sweep) -> list[Part]:
    """What can be drawn of the runs of which there are snapshots."""
    runs = by_run(sweep)
    charts = [*frontiers(sweep, runs), *distances(sweep, runs)]
    return [Part("Snapshots", NOTE, charts)] if charts else []


def by_run(sweep: Sweep) -> Runs:
    """The snapshots of every run that has enough, under what tells the runs apart."""
    runs: Runs = {}
    for point in sweep.points:
        if point.place.run is not None:
            runs.setdefault(point.place.run, []).append(point)
    kept = {
        run: sorted(points, key=number_of)
        for run, points in runs.items()
        if len(set(map(number_of, points))) >= FEWEST
    }
    return dict(zip(varying(list(kept)), kept.values(), strict=True)) if kept else {}


def number_of(point: Point) -> int:
    """Of a snapshot."""
    return point.place.snapshot or 0


def best(points: list[Point], distance: Measure) -> Point | None:
    """The snapshot of least distance; the first of equal ones."""
    kept, (values,) = measured(points, distance)
    return kept[int(values.argmin())] if kept else None


def frontiers(sweep: Sweep, runs: Runs) -> Iterator[Chart]:
    """Precision against recall of the snapshots, and which of them no other dominates (Fig. 6a,
    6b)."""
    for precision in sweep.measures("precision"):
        lines: list[Line] = []
        on_line: dict[str, list[int]] = {}
        for style, (run, points) in enumerate(runs.items()):
            kept, values = measured(points, precision.of("recall"), precision)
            if not kept:
                continue
            frontier = pareto_frontier(values.T)
            frontier = frontier[np.argsort(values[0][frontier], kind="stable")]
            on_line[run] = sorted({number_of(kept[i]) for i in frontier})
            lines += run_lines(run, style, kept, values, frontier, alone=len(runs) == 1)
            lines += best_marks(sweep, style, kept, precision)
        if lines:
            lines += mark_names(sweep)
            title = f"Precision against recall, {space_of(sweep, precision)}"
            yield Chart(title, chart(lines, "recall", "precision"), in_words(on_line))


def run_lines(
    run: str, style: int, points: list[Point], values: np.ndarray, frontier: np.ndarray, *,
    alone: bool,
) -> list[Line]:  # fmt: skip
    """The points of a run, and its frontier; of a single run with the snapshots' numbers."""
    recall, precision = values
    texts = [str(number_of(points[i])) for i in frontier] if alone else []
    name = shortened(run, RUN)
    return [
        Line("", recall, precision, style, stroke="", size=3),
        Line(name, recall[frontier], precision[frontier], style, size=5, texts=texts),
    ]


def best_marks(
    sweep: Sweep, style: int, points: list[Point], precision: Measure
) -> Iterator[Line]:  # fmt: skip
    """A hollow marker around the best snapshot by every distance."""
    for i, distance in enumerate(sweep.measures("frechet_distance")):
        found = best(points, distance)
        if found:
            _, (x, y) = measured([found], precision.of("recall"), precision)
            yield mark("", x, y, style, i)


def mark_names(sweep: Sweep) -> list[Line]:
    """What the markers are called, for the legend."""
    named = [sweep.names[distance] for distance in sweep.measures("frechet_distance")]
    return [mark(f"best {name}", [], [], None, i) for i, name in enumerate(named)]


def mark(name: str, x: Sequence[float], y: Sequence[float], style: int | None, i: int) -> Line:
    """The marker of the i-th distance; smaller for later ones, so that all can be seen."""
    return Line(
        name, x, y, style, marker=BEST[i % len(BEST)], size=13 - 2 * i, stroke="", hollow=True
    )


def in_words(frontiers: Mapping[str, list[int]]) -> str:
    """ "On the frontier: 400, 800."."""
    said = [
        f"{f'{run}: ' if len(frontiers) > 1 else ''}{', '.join(map(str, numbers))}"
        for run, numbers in frontiers.items()
    ]
    return f"On the frontier: {'; '.join(said)}."


def distances(sweep: Sweep, runs: Runs) -> Iterator[Chart]:
    """Every distance over the number of the snapshot, with the best of every run (Fig. 6c)."""
    for i, distance in enumerate(sweep.measures("frechet_distance")):
        name, lines, said = sweep.names[distance], [], []
        for style, (run, points) in enumerate(runs.items()):
            kept, (values,) = measured(points, distance)
            if not kept:
                continue
            x, at = [number_of(point) for point in kept], int(values.argmin())
            lines += [
                Line(shortened(run, RUN), x, values, style, size=3),
                mark("", x[at : at + 1], values[at : at + 1], style, i),
            ]
            of = f" of {run}" if len(runs) > 1 else ""
            said.append(f"The best{of}: {number(values[at])} at {x[at]}.")
        if lines:
            figure = chart(lines, "snapshot", name, from_zero=True, log=doubling(lines))
            yield Chart(f"{name} over training", figure, " ".join(said))


def doubling(lines: list[Line]) -> bool:
    """Whether snapshots were taken at ever longer intervals."""
    x = np.array([x for line in lines for x in line.x])
    return bool(x.min() > 0 and np.median(x) < x.max() / 4)
