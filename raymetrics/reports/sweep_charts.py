"""Titled charts, and what is drawn in them of a sweep's points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.reports.sweep_points import Measure, Point, Sweep


@dataclass(frozen=True)
class Chart:
    """A figure with its title."""

    title: str
    figure: str  # SVG
    note: str = ""


@dataclass(frozen=True)
class Part:
    """Charts that belong together."""

    title: str
    note: str
    charts: list[Chart]
    folded: bool = False


def measured(
    points: Sequence[Point], *measures: Measure, label: int | None = None
) -> tuple[list[Point], np.ndarray]:
    """The points that have all of these numbers, and the numbers, float64 [measures, n]."""
    rows = [(p, [p.value(m, label) for m in measures]) for p in points]
    kept = [(point, row) for point, row in rows if None not in row]
    values = np.array([row for _, row in kept], np.float64).reshape(len(kept), len(measures))
    return [point for point, _ in kept], values.T


def space(sweep: Sweep, measure: Measure) -> str:
    """ "digits", or "digits, k=5": the name of a measure without the metric's."""
    known = {"precision": "precision ", "prd_f_8": "PRD F_8 "}
    return sweep.names[measure].removeprefix(known[measure.metric])


def nearest_distance(sweep: Sweep, measure: Measure) -> Measure | None:
    """The Frechet distance that goes with a measure: of the same network, else the first one."""
    distances = sweep.measures("frechet_distance")
    same = [distance for distance in distances if distance.extractor == measure.extractor]
    return next(iter([*same, *distances]), None)


def shortened(name: str, letters: int = 20) -> str:
    """A name that fits into a legend."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
