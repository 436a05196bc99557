"""Hold titled charts, and select the values of a sweep that they draw."""

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
    """Return the points that have all of these values, and the values, float64 [measures, n]."""
    rows = [(p, [p.value(m, label) for m in measures]) for p in points]
    complete = [(point, row) for point, row in rows if None not in row]
    values = np.array([row for _, row in complete], np.float64).reshape(
        len(complete), len(measures)
    )
    return [point for point, _ in complete], values.T


def matching_distance(sweep: Sweep, measure: MeasureKey) -> MeasureKey | None:
    """Return the Fréchet distance of the same network, else the first one; None without any."""
    distances = sweep.measures("frechet_distance")
    same_network = [distance for distance in distances if distance.extractor == measure.extractor]
    return next(iter([*same_network, *distances]), None)


def shorten_name(name: str, max_letters: int = 20) -> str:
    """Return the name, cut to so many letters for a legend."""
    return name if len(name) <= max_letters else f"{name[: max_letters - 1]}…"
