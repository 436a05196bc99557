"""Titled charts, and what is drawn in them of a sweep's points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.reports.sweep_points import MeasureKey, Point, Sweep


@dataclass(frozen=True)
class Chart:
    """A figure with its title."""

    title: str
    figure: str  # SVG
    note: str = ""


@dataclass(frozen=True)
class ChartGroup:
    """Charts that belong together."""

    title: str
    note: str
    charts: list[Chart]
    folded: bool = False


def select_measured(
    points: Sequence[Point], *measures: MeasureKey, label: int | None = None
) -> tuple[list[Point], np.ndarray]:
    """The points that have all of these numbers, and the numbers, float64 [measures, n]."""
    rows = [(p, [p.value(m, label) for m in measures]) for p in points]
    complete = [(point, row) for point, row in rows if None not in row]
    values = np.array([row for _, row in complete], np.float64).reshape(
        len(complete), len(measures)
    )
    return [point for point, _ in complete], values.T


def space_name(sweep: Sweep, measure: MeasureKey) -> str:
    """ "digits", or "digits, k=5": the name of a measure without the metric's."""
    prefixes = {"precision": "precision ", "prd_f_8": "PRD F_8 "}
    return sweep.names[measure].removeprefix(prefixes[measure.metric])


def matching_distance(sweep: Sweep, measure: MeasureKey) -> MeasureKey | None:
    """The Frechet distance that goes with a measure: of the same network, else the first one."""
    distances = sweep.measures("frechet_distance")
    same_network = [distance for distance in distances if distance.extractor == measure.extractor]
    return next(iter([*same_network, *distances]), None)


def shorten_name(name: str, max_letters: int = 20) -> str:
    """A name that fits into a legend."""
    return name if len(name) <= max_letters else f"{name[: max_letters - 1]}…"
