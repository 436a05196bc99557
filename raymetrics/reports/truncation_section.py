"""Draw what truncation trades: Figures 4, 5 and 7 of Kynkäänniemi et al. (2019)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raymetrics.generators.latents.strategies import BIGGAN_STRATEGIES
from raymetrics.generators.source_settings import PSI
from raymetrics.reports.chart_groups import (
    Chart,
    ChartGroup,
    matching_distance,
    select_measured,
    shorten_name,
)
from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.sweep_points import MeasureKey, Point, Sweep

# Of every strategy its sets, from the most truncated to the least.
StrategyPoints = dict[str, list[Point]]
_MAX_UNFOLDED = 2  # strategies whose figures are unfolded
_MAX_CLASSES = 10
_MANIFOLD_METRICS = ("precision", "recall", "density", "coverage")
_PRD_METRICS = {"prd_f_8": "F_8 (recall)", "prd_f_1_8": "F_1/8 (precision)"}


def truncation_chart_groups(sweep: Sweep) -> list[ChartGroup]:
    """Return the charts of every generator of which there are truncated sets."""
    chart_groups: list[ChartGroup] = []
    for base in dict.fromkeys(point.source_setting.base for point in sweep.points):
        strategy_points = group_by_strategy(sweep.points, base)
        if not strategy_points:
            continue
        chart_groups.append(
            ChartGroup(
                f"Truncation of {base}",
                _TRADEOFFS_NOTE,
                list(_tradeoff_charts(sweep, strategy_points)),
            )
        )
        chart_groups.append(
            ChartGroup(
                f"Classes of {base}", _CLASSES_NOTE, list(_class_charts(sweep, strategy_points))
            )
        )
        folded = len(strategy_points) > _MAX_UNFOLDED
        chart_groups += [
            ChartGroup(
                f"{name}, {base}",
                _BIGGAN_NOTE if name in BIGGAN_STRATEGIES else _AMOUNT_NOTE,
                list(_amount_charts(sweep, points, name)),
                folded,
            )
            for name, points in strategy_points.items()
        ]
    return [chart_group for chart_group in chart_groups if chart_group.charts]


_TRADEOFFS_NOTE = (
    "One line a strategy, one point a set, its ends marked with the amount: 1 is the generator as "
    "it is, 0 the same image again and again. Of truncate-z-at the amount is a threshold, of "
    "scale-truncated-z it is psi; with 1 both truncate too. Up and to the right is better; "
    "distances grow to the left."
)
_CLASSES_NOTE = (
    "One line a class, from the most truncated set to the one that is truncated least, whose "
    "marker is larger and whose distance stands beside the name."
)
_AMOUNT_NOTE = "What the strategy changes, over its amount: 1 is the generator as it is."
_BIGGAN_NOTE = "What the strategy changes, over its threshold or psi; it truncates with 1 too."


def group_by_strategy(points: Sequence[Point], base: str) -> StrategyPoints:
    """Return the truncated sets of a source. The source itself is the end of every strategy that
    truncates nothing with the amount 1.
    """
    base_points = [point for point in points if point.source_setting.base == base]
    untruncated = [point for point in base_points if point.source_setting.strategy is None]
    strategy_points = {}
    for name in sorted(
        {p.source_setting.strategy for p in base_points if p.source_setting.strategy}
    ):
        same_strategy = [point for point in base_points if point.source_setting.strategy == name]
        whole_at_one = name not in BIGGAN_STRATEGIES
        if whole_at_one and all(point.source_setting.amount != 1 for point in same_strategy):
            same_strategy += untruncated
        if len({point.source_setting.amount for point in same_strategy}) > 1:
            strategy_points[name] = sorted(
                same_strategy, key=lambda point: point.source_setting.amount
            )
    return strategy_points


def _tradeoff_charts(sweep: Sweep, strategy_points: StrategyPoints) -> Iterator[Chart]:
    """Yield charts of precision against recall, then against every distance, on an axis that grows
    to the left (Fig. 7b, 7c).
    """
    for precision in sweep.measures("precision"):
        space = sweep.names[precision].space
        lines = strategy_lines(strategy_points, precision.with_metric("recall"), precision)
        if lines:
            title = f"Precision against recall, {space}"
            yield Chart(title, line_chart(lines, "recall", "precision"))
        for distance in sweep.measures("frechet_distance"):
            name = sweep.name(distance)
            lines = strategy_lines(strategy_points, distance, precision)
            if lines:
                title = f"Precision, {space}, against {name}"
                yield Chart(title, line_chart(lines, name, "precision", flipped=True))


def strategy_lines(strategy_points: StrategyPoints, x: MeasureKey, y: MeasureKey) -> list[Line]:
    """Return a line for every strategy with two sets or more that have both values."""
    lines: list[Line] = []
    for style, (name, points) in enumerate(strategy_points.items()):
        measured_points, (xs, ys) = select_measured(points, x, y)
        if len(measured_points) > 1:
            lines.append(
                Line(name, xs, ys, style, texts=_end_amounts(measured_points, bool(lines)))
            )
    return lines


def _end_amounts(points: Sequence[Point], lower_only: bool) -> list[str]:
    """Return the texts of the points: the amount at either end. The upper end is common to all
    strategies, and only the first line has its text.
    """
    texts = [""] * len(points)
    last = points[-1].source_setting.amount
    texts[-1] = "" if lower_only and last == 1 else f"{last:g}"
    texts[0] = f"{points[0].source_setting.amount:g}"
    return texts


def _amount_charts(sweep: Sweep, points: list[Point], strategy: str) -> Iterator[Chart]:
    """Yield charts of metrics over the amount: precision and recall of Kynkäänniemi et al. and of
    Sajjadi et al., and distances (Fig. 4b, 4c).
    """
    axis = "psi" if strategy.startswith(PSI) else "amount"
    for precision in sweep.measures("precision"):
        lines = _metric_lines(
            {name: precision.with_metric(name) for name in _MANIFOLD_METRICS}, points
        )
        if lines:
            title = f"Precision and recall, {sweep.names[precision].space}"
            yield Chart(title, line_chart(lines, axis, "", from_zero=True))
    for f_8 in sweep.measures("prd_f_8"):
        lines = _metric_lines(
            {text: f_8.with_metric(name) for name, text in _PRD_METRICS.items()}, points
        )
        if lines:
            title = f"Precision and recall of Sajjadi et al., {sweep.names[f_8].space}"
            yield Chart(title, line_chart(lines, axis, "", from_zero=True))
    for distance in sweep.measures("frechet_distance"):
        name = sweep.name(distance)
        for line in _metric_lines({"": distance}, points):
            yield Chart(name, line_chart([line], axis, name, from_zero=True))


def _metric_lines(measures: dict[str, MeasureKey], points: Sequence[Point]) -> list[Line]:
    """Return a line for every metric that was measured at two amounts or more."""
    lines = []
    for style, (name, measure) in enumerate(measures.items()):
        measured_points, (values,) = select_measured(points, measure)
        if len({point.source_setting.amount for point in measured_points}) > 1:
            lines.append(
                Line(
                    name, [point.source_setting.amount for point in measured_points], values, style
                )
            )
    return lines


def _class_charts(sweep: Sweep, strategy_points: StrategyPoints) -> Iterator[Chart]:
    """Yield charts of precision against recall of single classes (Fig. 5)."""
    for precision in sweep.measures("precision"):
        for strategy, points in strategy_points.items():
            labels = select_classes(sweep, points, precision)
            if not labels:
                continue
            lines = _whole_set_lines(points, precision)
            for style, label in enumerate(labels):
                lines += _class_lines(sweep, points, precision, label, style)
            title = f"{strategy}, {sweep.names[precision].space}"
            yield Chart(
                title, line_chart(lines, "recall", "precision"), _hidden_classes_note(sweep, labels)
            )


def _whole_set_lines(points: list[Point], precision: MeasureKey) -> list[Line]:
    """Return the line of the whole set, with which the classes are compared."""
    measured_points, (x, y) = select_measured(points, precision.with_metric("recall"), precision)
    return (
        [Line("all classes", x, y, None, marker="", stroke="--")]
        if len(measured_points) > 1
        else []
    )


def select_classes(sweep: Sweep, points: list[Point], precision: MeasureKey) -> list[int]:
    """Return the labels whose lines are drawn.

    Of more than ten labels these are the easiest and the hardest: the five of highest and the five
    of lowest precision in the set that is truncated least.
    """
    last_precisions = {}
    for label in sweep.classes:
        measured_points, (_, values) = select_measured(
            points, precision.with_metric("recall"), precision, label=label
        )
        if len(measured_points) > 1:
            last_precisions[label] = values[-1]
    if len(last_precisions) <= _MAX_CLASSES:
        return list(last_precisions)
    order = sorted(last_precisions, key=lambda label: -last_precisions[label])
    return [*order[: _MAX_CLASSES // 2], *order[-_MAX_CLASSES // 2 :]]


def _class_lines(
    sweep: Sweep, points: list[Point], precision: MeasureKey, label: int, style: int
) -> list[Line]:
    """Return the line of a class, and its larger marker where it is truncated least."""
    measured_points, (x, y) = select_measured(
        points, precision.with_metric("recall"), precision, label=label
    )
    name = shorten_name(sweep.classes[label])
    distance = matching_distance(sweep, precision)
    if distance:
        value = measured_points[-1].value(distance, label)
        name += "" if value is None else f" {sweep.names[distance].metric} {value:.4g}"
    return [Line("", x, y, style, size=3), Line(name, x[-1:], y[-1:], style, size=7)]


def _hidden_classes_note(sweep: Sweep, labels: list[int]) -> str:
    """Return how many classes are left out, in words; "" if all are drawn."""
    hidden_count = len(sweep.classes) - len(labels)
    half = _MAX_CLASSES // 2
    if hidden_count and len(labels) == _MAX_CLASSES:
        return (
            f"The {half} classes of highest and the {half} of lowest precision; "
            f"{hidden_count} more."
        )
    return ""
