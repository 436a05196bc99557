"""Weights that minimise the distance: L-BFGS on square roots of the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raymetrics.resampling.objective import Evaluator


class Step(NamedTuple):
    """What is known of one point of the way."""

    evaluations: int  # done until then, this one included
    distance: float
    effective_sample_size: float
    gap: float  # no weights are better by more than this


@dataclass(frozen=True, eq=False)
class State:
    """All that the next iteration depends on; `to_arrays` and `from_arrays` keep every bit."""

    evaluations: int
    point: np.ndarray  # float64 [n]
    distance: float
    slopes: np.ndarray  # float64 [n], of the objective at the point
    moves: np.ndarray  # float64 [k, n]: the last k differences of points, oldest first
    turns: np.ndarray  # float64 [k, n]: those of gradients
    trace: np.ndarray  # float64 [accepted points, 4]: a Step each


@dataclass(frozen=True, eq=False)
class Optimised:
    """Where a minimisation ended."""

    weights: np.ndarray  # float64 [n], with a sum of 1
    trace: tuple[Step, ...]  # of every point accepted, from equal weights on
    finished: bool  # it ended by its own rule, and not because evaluations ran out

    @property
    def distance(self) -> float:
        """The Frechet distance at the weights."""
        return self.trace[-1].distance

    @property
    def effective_sample_size(self) -> float:
        """1 / sum p_i^2."""
        return self.trace[-1].effective_sample_size

    @property
    def gap(self) -> float:
        """No weights are better by more than this."""
        return self.trace[-1].gap

    @property
    def evaluations(self) -> int:
        """How often the objective was computed."""
        return self.trace[-1].evaluations


def minimise(
    evaluate: Evaluator,
    *,
    max_evaluations: int,
    tolerance: float = 1e-3,
    state: State | None = None,
    told: Callable[[State], None] | None = None,
) -> Optimised:
    """Weights of the smallest distance, from equal ones, or on from a state."""
    raise NotImplementedError
