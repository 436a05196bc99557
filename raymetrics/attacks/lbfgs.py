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
MEMORY = 10
# Armijo's and Wolfe's constants, and trials until a direction is given up.
DECREASE, CURVATURE, TRIALS = 1e-4, 0.9, 12
# A rise by this, relative to the value, is a rounding error.
NOISE = 1e-7


def quasi_newton(gradient: np.ndarray, moves: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """The inverse Hessian, as the pairs tell it, times the gradient: Nocedal's two loops."""
    found = gradient.copy()
    pairs = [(move, turn, 1 / (move @ turn)) for move, turn in zip(moves, turns, strict=True)]
    parts = []
    for move, turn, inverse in reversed(pairs):
        parts.append(inverse * (move @ found))
        found -= parts[-1] * turn
    found *= (moves[-1] @ turns[-1]) / (turns[-1] @ turns[-1])
    for (move, turn, inverse), part in zip(pairs, reversed(parts), strict=True):
        found += (part - inverse * (turn @ found)) * move
    return found


def remember(
    moves: np.ndarray, turns: np.ndarray, move: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """With one more pair, and without the oldest; a pair that shows no curvature is left out."""
    enough = 1e-10 * np.linalg.norm(move) * np.linalg.norm(turn)
    if move @ turn <= max(enough, 1e-200):  # one divides by it
        return moves, turns
    return (
        np.concatenate([moves[-MEMORY + 1 :], [move]]),
        np.concatenate([turns[-MEMORY + 1 :], [turn]]),
    )


class Trial(NamedTuple):
    """A point on a line: how far, the value there, and its slope along the line."""

    length: float
    value: float
    slope: float
    look: Any  # whatever else the caller knows of it


def line_search(at: Callable[[float], Trial], start: Trial, length: float) -> Trial | None:
    """A point that satisfies the weak Wolfe conditions, or None.

    Doubles until the value no longer falls steeply, then narrows the bracket. After too many
    trials, any point that is lower has to do.
    """
    lower: Trial = start
    upper: Trial | None = None
    for _ in range(TRIALS if start.slope < 0 else 0):
        trial = at(length)
        if acceptable(start, trial):
            return trial
        if falls(start, trial):
            lower = trial
        else:
            upper = trial
        length = 2 * length if upper is None else between(lower, upper)
    return lower if lower is not start else None


def falls(start: Trial, trial: Trial) -> bool:
    """Armijo's condition. False for NaN."""
    return trial.value <= start.value + DECREASE * trial.length * start.slope


def acceptable(start: Trial, trial: Trial) -> bool:
    """The weak Wolfe conditions; or the value stays, but for noise, and is flatter there."""
    if falls(start, trial):
        return trial.slope >= CURVATURE * start.slope
    same = trial.value <= start.value + NOISE * abs(start.value)
    return same and abs(trial.slope) <= CURVATURE * abs(start.slope)


def between(lower: Trial, upper: Trial) -> float:
    """The minimum of the parabola through both with the slope of the lower, kept off the ends."""
    width = upper.length - lower.length
    excess = upper.value - lower.value - lower.slope * width
    share = -lower.slope * width / (2 * excess) if excess > 0 else 0.5
    return float(lower.length + width * min(max(share, 0.1), 0.6))
