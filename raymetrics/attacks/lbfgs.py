"""What L-BFGS is made of: a direction from remembered pairs, and a search along a line.

The direction is Nocedal's (1980); the search asks for the weak Wolfe conditions. Near the end
differences of a value drown in float32's rounding; slopes still tell where it falls (Hager &
Zhang 2005), so then they decide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

# Pairs that are remembered.
_MAX_PAIRS = 10
# Armijo's and Wolfe's constants, and trials until a direction is given up.
_ARMIJO_DECREASE, _WOLFE_CURVATURE, _MAX_TRIALS = 1e-4, 0.9, 12
# A rise by this, relative to the value, is a rounding error.
_ROUNDING_NOISE = 1e-7


def inverse_hessian_product(
    gradient: np.ndarray, point_changes: np.ndarray, gradient_changes: np.ndarray
) -> np.ndarray:
    """The inverse Hessian, as the pairs tell it, times the gradient: Nocedal's two loops."""
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
    """With one more pair, and without the oldest; a pair that shows no curvature is left out."""
    least_curvature = 1e-10 * np.linalg.norm(point_change) * np.linalg.norm(gradient_change)
    if point_change @ gradient_change <= max(least_curvature, 1e-200):  # one divides by it
        return point_changes, gradient_changes
    return (
        np.concatenate([point_changes[-_MAX_PAIRS + 1 :], [point_change]]),
        np.concatenate([gradient_changes[-_MAX_PAIRS + 1 :], [gradient_change]]),
    )


class LinePoint(NamedTuple):
    """A point on a line: how far, the value there, and its slope along the line."""

    length: float
    value: float
    slope: float
    payload: Any  # whatever else the caller knows of it


def line_search(
    try_length: Callable[[float], LinePoint], start: LinePoint, length: float
) -> LinePoint | None:
    """A point that satisfies the weak Wolfe conditions, or None.

    Doubles until the value no longer falls steeply, then narrows the bracket. After too many
    trials, any point that is lower has to do.
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
    """Armijo's condition. False for NaN."""
    return trial.value <= start.value + _ARMIJO_DECREASE * trial.length * start.slope


def _satisfies_wolfe(start: LinePoint, trial: LinePoint) -> bool:
    """The weak Wolfe conditions; or the value stays, but for noise, and is flatter there."""
    if _satisfies_armijo(start, trial):
        return trial.slope >= _WOLFE_CURVATURE * start.slope
    is_level = trial.value <= start.value + _ROUNDING_NOISE * abs(start.value)
    return is_level and abs(trial.slope) <= _WOLFE_CURVATURE * abs(start.slope)


def _interpolate(lower: LinePoint, upper: LinePoint) -> float:
    """The minimum of the parabola through both with the slope of the lower, kept off the ends."""
    width = upper.length - lower.length
    excess = upper.value - lower.value - lower.slope * width
    fraction = -lower.slope * width / (2 * excess) if excess > 0 else 0.5
    return float(lower.length + width * min(max(fraction, 0.1), 0.6))
