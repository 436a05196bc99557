"""Draw the snapshots of training runs: Figure 6 of Kynkäänniemi et al. (2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from raymetrics.generators.source_settings import distinguishing_names
from raymetrics.metrics.pareto import pareto_frontier
from raymetrics.reports.chart_groups import Chart, ChartGroup, select_measured, shorten_name
from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.sweep_points import MeasureKey, Point, Sweep
from raymetrics.reports.terminal import format_value

SnapshotRuns = dict[str, list[Point]]  # the snapshots of every run, in the order of training
_MIN_SNAPSHOTS = 3  # of a run; two files with numbers in their names may be anything
_BEST_MARKERS = "*PXD"
_MAX_RUN_LETTERS = 50  # letters of a run's name in a legend
_SNAPSHOTS_NOTE = (
    "Every point is a snapshot; the line is the Pareto frontier of a run: whatever the tradeoff "
    "that is wanted, the best snapshot for it is on the line. Large markers: the best by distance."
)


def snapshot_chart_groups(sweep: Sweep) -> list[ChartGroup]:
    """Return the charts of the runs of which there are snapshots."""
    runs = group_by_run(sweep)
    charts = [*frontier_charts(sweep, runs), *_distance_charts(sweep, runs)]
    return [ChartGroup("Snapshots", _SNAPSHOTS_NOTE, charts)] if charts else []


def group_by_run(sweep: Sweep) -> SnapshotRuns:
    """Return the snapshots of every run that has three or more, by a short name of the run."""
    runs: SnapshotRuns = {}
    for point in sweep.points:
        if point.source_setting.run is not None:
            runs.setdefault(point.source_setting.run, []).append(point)
    long_runs = {
        run: sorted(points, key=_snapshot_number)
        for run, points in runs.items()
        if len(set(map(_snapshot_number, points))) >= _MIN_SNAPSHOTS
    }
    return (
        dict(zip(distinguishing_names(list(long_runs)), long_runs.values(), strict=True))
        if long_runs
        else {}
    )


def _snapshot_number(point: Point) -> int:
    """Return the number of a snapshot."""
    return point.source_setting.snapshot or 0


def _best_snapshot(points: list[Point], distance: MeasureKey) -> Point | None:
    """Return the snapshot of least distance, the first of equal ones; None without distances."""
    measured_points, (values,) = select_measured(points, distance)
    return measured_points[int(values.argmin())] if measured_points else None


def frontier_charts(sweep: Sweep, runs: SnapshotRuns) -> Iterator[Chart]:
    """Yield charts of precision against recall of the snapshots, with the Pareto frontier of every
    run (Fig. 6a, 6b).
    """
    for precision in sweep.measures("precision"):
        lines: list[Line] = []
        frontier_numbers: dict[str, list[int]] = {}
        for style, (run, points) in enumerate(runs.items()):
            measured_points, values = select_measured(
                points, precision.with_metric("recall"), precision
            )
            if not measured_points:
                continue
            frontier = pareto_frontier(values.T)
            frontier = frontier[np.argsort(values[0][frontier], kind="stable")]
            frontier_numbers[run] = sorted({_snapshot_number(measured_points[i]) for i in frontier})
            lines += _run_lines(
                run, style, measured_points, values, frontier, is_only_run=len(runs) == 1
            )
            lines += _best_markers(sweep, style, measured_points, precision)
        if lines:
            lines += _marker_legend(sweep)
            title = f"Precision against recall, {sweep.names[precision].space}"
            yield Chart(
                title, line_chart(lines, "recall", "precision"), _frontier_note(frontier_numbers)
            )


def _run_lines(
    run: str,
    style: int,
    points: list[Point],
    values: np.ndarray,
    frontier: np.ndarray,
    *,
    is_only_run: bool,
) -> list[Line]:
    """Return the points of a run and its frontier; the only run has the numbers of its snapshots
    beside the frontier.
    """
    recall, precision = values
    texts = [str(_snapshot_number(points[i])) for i in frontier] if is_only_run else []
    name = shorten_name(run, _MAX_RUN_LETTERS)
    return [
        Line("", recall, precision, style, stroke="", size=3),
        Line(name, recall[frontier], precision[frontier], style, size=5, texts=texts),
    ]


def _best_markers(
    sweep: Sweep, style: int, points: list[Point], precision: MeasureKey
) -> Iterator[Line]:
    """Yield a hollow marker around the best snapshot by every distance."""
    for i, distance in enumerate(sweep.measures("frechet_distance")):
        best_point = _best_snapshot(points, distance)
        if best_point:
            _, (x, y) = select_measured([best_point], precision.with_metric("recall"), precision)
            yield _best_marker("", x, y, style, i)


def _marker_legend(sweep: Sweep) -> list[Line]:
    """Return markers without points, by which the legend names the best snapshots."""
    names = [sweep.name(distance) for distance in sweep.measures("frechet_distance")]
    return [_best_marker(f"best {name}", [], [], None, i) for i, name in enumerate(names)]


def _best_marker(
    name: str, x: Sequence[float], y: Sequence[float], style: int | None, i: int
) -> Line:
    """Return the marker of the i-th distance; later ones are smaller, so that all are visible."""
    return Line(
        name,
        x,
        y,
        style,
        marker=_BEST_MARKERS[i % len(_BEST_MARKERS)],
        size=13 - 2 * i,
        stroke="",
        hollow=True,
    )


def _frontier_note(frontiers: Mapping[str, list[int]]) -> str:
    """Return the numbers of the snapshots in words: "On the frontier: 400, 800."."""
    run_texts = [
        f"{f'{run}: ' if len(frontiers) > 1 else ''}{', '.join(map(str, numbers))}"
        for run, numbers in frontiers.items()
    ]
    return f"On the frontier: {'; '.join(run_texts)}."


def _distance_charts(sweep: Sweep, runs: SnapshotRuns) -> Iterator[Chart]:
    """Yield charts of the distances over the number of the snapshot, with the best of every run
    (Fig. 6c).
    """
    for i, distance in enumerate(sweep.measures("frechet_distance")):
        name, lines, sentences = sweep.name(distance), [], []
        for style, (run, points) in enumerate(runs.items()):
            measured_points, (values,) = select_measured(points, distance)
            if not measured_points:
                continue
            x = [_snapshot_number(point) for point in measured_points]
            best = int(values.argmin())
            lines += [
                Line(shorten_name(run, _MAX_RUN_LETTERS), x, values, style, size=3),
                _best_marker("", [x[best]], [values[best]], style, i),
            ]
            run_suffix = f" of {run}" if len(runs) > 1 else ""
            sentences.append(f"The best{run_suffix}: {format_value(values[best])} at {x[best]}.")
        if lines:
            figure = line_chart(lines, "snapshot", name, from_zero=True, log=needs_log_axis(lines))
            yield Chart(f"{name} over training", figure, " ".join(sentences))


def needs_log_axis(lines: list[Line]) -> bool:
    """Return whether the snapshots were taken at ever longer intervals."""
    x = np.array([x for line in lines for x in line.x])
    return bool(x.min() > 0 and np.median(x) < x.max() / 4)
