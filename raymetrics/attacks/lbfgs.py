"""The parts of L-BFGS: a direction from remembered pairs, and a search along a line.

The direction is Nocedal's (1980); the search requires the weak Wolfe conditions. Close to the
minimum, float32 rounding hides differences between values, but slopes still show where the value
falls (Hager & Zhang 2005), so slopes decide there.

Why not scipy.optimize: its L-BFGS-B keeps its memory to itself, so that a run could not be
checkpointed and resumed with the same bits; its line search compares values that are exact to
float32 only, and gives up close to the minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_MAX_PAIRS = 10  # remembered pairs
# The constants of Armijo and Wolfe, and the trials before the search gives a direction up.
_ARMIJO_DECREASE, _WOLFE_CURVATURE, _MAX_TRIALS = 1e-4, 0.9, 12
# The search takes a rise below this, relative to the value, for a rounding error.
_ROUNDING_NOISE = 1e-7


def inverse_hessian_product(
    gradient: np.ndarray, point_changes: np.ndarray, gradient_changes: np.ndarray
) -> np.ndarray:
    """Multiply the gradient by the inverse Hessian that the pairs approximate (two-loop recursion).

    point_changes, gradient_changes: float64 [k, n], k >= 1, oldest first.
    """
    product = gradient.copy()
    pairs = [
        (point_change, gradient_change, 1 / (point_change @ gradient_change))
        for point_change, gradient_change in zip(point_changes, gradient_changes, strict=True)
    ]
    coefficients = []
    for point_change, gradient_change, inverse in reversed(pairs):
        coefficients.append(inverse * (point_change @ product))
        product -= coefficients[-1] * gradient_change
    product *= (point_changes[-1] @ gradient_changes[-1]) / (
        gradient_changes[-1] @ gradient_changes[-1]
    )
    for (point_change, gradient_change, inverse), coefficient in zip(
        pairs, reversed(coefficients), strict=True
    ):
        product += (coefficient - inverse * (gradient_change @ product)) * point_change
    return product


def update_memory(
    point_changes: np.ndarray,
    gradient_changes: np.ndarray,
    point_change: np.ndarray,
    gradient_change: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Append a pair to the memory and drop the oldest pair beyond ten.

    A pair without positive curvature leaves the memory as it is.
    """
    least_curvature = 1e-10 * np.linalg.norm(point_change) * np.linalg.norm(gradient_change)
    if point_change @ gradient_change <= max(least_curvature, 1e-200):  # later a divisor
        return point_changes, gradient_changes
    return (
        np.concatenate([point_changes[-_MAX_PAIRS + 1 :], [point_change]]),
        np.concatenate([gradient_changes[-_MAX_PAIRS + 1 :], [gradient_change]]),
    )


class LinePoint(NamedTuple):
    """A point on a line: its distance from the start, the value, and the slope along the line."""

    length: float
    value: float
    slope: float
    payload: Any  # for the caller


def line_search(
    try_length: Callable[[float], LinePoint], start: LinePoint, length: float
) -> LinePoint | None:
    """Search along a line for a point that satisfies the weak Wolfe conditions.

    The length doubles until the value stops falling steeply; then the bracket narrows. After too
    many trials any lower point is accepted. Returns None if there is no lower point, or if the
    slope at the start is not negative.
    """
    lower: LinePoint = start
    upper: LinePoint | None = None
    for _ in range(_MAX_TRIALS if start.slope < 0 else 0):
        trial = try_length(length)
        if _satisfies_wolfe(start, trial):
            return trial
        if _satisfies_armijo(start, trial):
            lower = trial
        else:
            upper = trial
        length = 2 * length if upper is None else _interpolate(lower, upper)
    return lower if lower is not start else None


def _satisfies_armijo(start: LinePoint, trial: LinePoint) -> bool:
    """Return whether Armijo's condition holds; False for NaN."""
    return trial.value <= start.value + _ARMIJO_DECREASE * trial.length * start.slope


def _satisfies_wolfe(start: LinePoint, trial: LinePoint) -> bool:
    """Return whether the weak Wolfe conditions hold, or the value is level and the slope is
    flatter.

    A level value differs from the start only by rounding noise.
    """
    if _satisfies_armijo(start, trial):
        return trial.slope >= _WOLFE_CURVATURE * start.slope
    is_level = trial.value <= start.value + _ROUNDING_NOISE * abs(start.value)
    return is_level and abs(trial.slope) <= _WOLFE_CURVATURE * abs(start.slope)


def _interpolate(lower: LinePoint, upper: LinePoint) -> float:
    """Return the minimum of a parabola through both points, away from the ends of the bracket.

    The parabola has the slope of the lower point.
    """
    width = upper.length - lower.length
    excess = upper.value - lower.value - lower.slope * width
    fraction = -lower.slope * width / (2 * excess) if excess > 0 else 0.5
    return float(lower.length + width * min(max(fraction, 0.1), 0.6))
