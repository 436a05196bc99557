"""What truncation trades: Figures 4, 5 and 7 of Kynkaanniemi et al. (2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raymetrics.reports.figures import Line, chart
from raymetrics.reports.sweep_charts import (
    Chart,
    Part,
    measured,
    nearest_distance,
    shortened,
    space,
)
from raymetrics.reports.sweep_points import PSI, Measure, Point, Sweep

Paths = dict[str, list[Point]]  # of every strategy its sets, from the most truncated to the least
UNFOLDED = 2  # strategies whose figures are shown unasked
CLASSES = 10
MANIFOLD = ("precision", "recall", "density", "coverage")
PRD = {"prd_f_8": "F_8 (recall)", "prd_f_1_8": "F_1/8 (precision)"}


def truncation_parts(sweep: Sweep) -> list[Part]:
    """All that can be drawn of every generator that was truncated."""
    parts: list[Part] = []
    for base in dict.fromkeys(point.place.base for point in sweep.points):
        paths = strategies(sweep.points, base)
        if not paths:
            continue
        parts.append(Part(f"Truncation of {base}", TRADEOFFS, list(tradeoffs(sweep, paths))))
        parts.append(Part(f"Classes of {base}", BY_CLASS, list(by_class(sweep, paths))))
        parts += [
            Part(f"{name}, {base}", OVER_AMOUNT, list(over_amount(sweep, points, name)),
                 folded=len(paths) > UNFOLDED)
            for name, points in paths.items()
        ]  # fmt: skip
    return [part for part in parts if part.charts]


TRADEOFFS = (
    "One line a strategy, one point a set, its ends marked with the amount: 1 is the generator as "
    "it is, 0 the same image again and again. Up and to the right is better; distances grow to the "
    "left."
)
BY_CLASS = (
    "One line a class, from the most truncated set to the one that is truncated least, whose "
    "marker is larger and whose distance stands beside the name."
)
OVER_AMOUNT = "What the strategy changes, over its amount: 1 is the generator as it is."


def strategies(points: Sequence[Point], base: str) -> Paths:
    """The truncated sets of a source. The source itself is the end of every strategy."""
    of_base = [point for point in points if point.place.base == base]
    plain = [point for point in of_base if point.place.strategy is None]
    paths = {}
    for name in sorted({p.place.strategy for p in of_base if p.place.strategy}):
        own = [point for point in of_base if point.place.strategy == name]
        if all(point.place.amount != 1 for point in own):
            own += plain
        if len({point.place.amount for point in own}) > 1:
            paths[name] = sorted(own, key=lambda point: point.place.amount)
    return paths


def tradeoffs(sweep: Sweep, paths: Paths) -> Iterator[Chart]:
    """Precision against recall, then against every distance, on an axis that grows to the left
    (Fig. 7b, 7c)."""
    for precision in sweep.measures("precision"):
        of = space(sweep, precision)
        lines = all_strategies(paths, precision.of("recall"), precision)
        if lines:
            title = f"Precision against recall, {of}"
            yield Chart(title, chart(lines, "recall", "precision"))
        for distance in sweep.measures("frechet_distance"):
            name = sweep.names[distance]
            lines = all_strategies(paths, distance, precision)
            if lines:
                title = f"Precision, {of}, against {name}"
                yield Chart(title, chart(lines, name, "precision", flipped=True))


def all_strategies(paths: Paths, x: Measure, y: Measure) -> list[Line]:
    """A line for every strategy that has both numbers more than once."""
    lines: list[Line] = []
    for style, (name, points) in enumerate(paths.items()):
        kept, (xs, ys) = measured(points, x, y)
        if len(kept) > 1:
            lines.append(Line(name, xs, ys, style, texts=ends(kept, bool(lines))))
    return lines


def ends(points: Sequence[Point], lower_only: bool) -> list[str]:
    """The amount at either end; the upper one is common to all strategies, and said once."""
    texts = [""] * len(points)
    last = points[-1].place.amount
    texts[-1] = "" if lower_only and last == 1 else f"{last:g}"
    texts[0] = f"{points[0].place.amount:g}"
    return texts


def over_amount(sweep: Sweep, points: list[Point], strategy: str) -> Iterator[Chart]:
    """Every metric over the amount: ours, that of Sajjadi et al., distances (Fig. 4b, 4c)."""
    axis = "psi" if strategy.startswith(PSI) else "amount"
    for precision in sweep.measures("precision"):
        lines = metrics_over({name: precision.of(name) for name in MANIFOLD}, points)
        if lines:
            title = f"Precision and recall, {space(sweep, precision)}"
            yield Chart(title, chart(lines, axis, "", from_zero=True))
    for f_8 in sweep.measures("prd_f_8"):
        lines = metrics_over({text: f_8.of(name) for name, text in PRD.items()}, points)
        if lines:
            title = f"Precision and recall of Sajjadi et al., {space(sweep, f_8)}"
            yield Chart(title, chart(lines, axis, "", from_zero=True))
    for distance in sweep.measures("frechet_distance"):
        name = sweep.names[distance]
        for line in metrics_over({"": distance}, points):
            yield Chart(name, chart([line], axis, name, from_zero=True))


def metrics_over(named: dict[str, Measure], points: Sequence[Point]) -> list[Line]:
    """A line for every metric that was measured at two amounts or more."""
    lines = []
    for style, (name, measure) in enumerate(named.items()):
        kept, (values,) = measured(points, measure)
        if len({point.place.amount for point in kept}) > 1:
            lines.append(Line(name, [point.place.amount for point in kept], values, style))
    return lines


def by_class(sweep: Sweep, paths: Paths) -> Iterator[Chart]:
    """Precision against recall of single classes over a sweep (Fig. 5)."""
    for precision in sweep.measures("precision"):
        for strategy, points in paths.items():
            labels = shown_classes(sweep, points, precision)
            if not labels:
                continue
            lines = all_classes(points, precision)
            for style, label in enumerate(labels):
                lines += class_lines(sweep, points, precision, label, style)
            title = f"{strategy}, {space(sweep, precision)}"
            yield Chart(title, chart(lines, "recall", "precision"), left_out(sweep, labels))


def all_classes(points: list[Point], precision: Measure) -> list[Line]:
    """The line of the whole set, to see the classes against."""
    kept, (x, y) = measured(points, precision.of("recall"), precision)
    return [Line("all classes", x, y, None, marker="", stroke="--")] if len(kept) > 1 else []


def shown_classes(sweep: Sweep, points: list[Point], precision: Measure) -> list[int]:
    """The labels with a line to draw. Of more than CLASSES those with the highest and the lowest
    precision, when truncated least: the easy and the difficult ones."""
    found = {}
    for label in sweep.classes:
        kept, (_, values) = measured(points, precision.of("recall"), precision, label=label)
        if len(kept) > 1:
            found[label] = values[-1]
    if len(found) <= CLASSES:
        return list(found)
    order = sorted(found, key=lambda label: -found[label])
    return [*order[: CLASSES // 2], *order[-CLASSES // 2 :]]


def class_lines(
    sweep: Sweep, points: list[Point], precision: Measure, label: int, style: int
) -> list[Line]:
    """A class's line, and a larger marker where it is truncated least."""
    kept, (x, y) = measured(points, precision.of("recall"), precision, label=label)
    name = shortened(sweep.classes[label])
    distance = nearest_distance(sweep, precision)
    if distance:
        value = kept[-1].value(distance, label)
        name += "" if value is None else f" {sweep.names[distance].split()[0]} {value:.4g}"
    return [Line("", x, y, style, size=3), Line(name, x[-1:], y[-1:], style, size=7)]


def left_out(sweep: Sweep, labels: list[int]) -> str:
    """How many classes are not drawn."""
    hidden = len(sweep.classes) - len(labels)
    half = CLASSES // 2
    if hidden and len(labels) == CLASSES:
        return f"The {half} classes of highest and the {half} of lowest precision; {hidden} more."
    return ""
