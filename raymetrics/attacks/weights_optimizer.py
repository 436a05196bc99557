"""Weights that minimize the distance: L-BFGS on square roots of the weights.

A point s has one coordinate for each candidate, p_i = (s_i / a_i)^2 / sum, where a_i is about
|x_i|. Roots keep weights positive, and unlike logarithms never run to infinity; far candidates, on
which the covariance depends most, take shorter steps. The distance is convex in p, and a point that
no small step improves is the minimum, except that a weight of exactly 0 stays 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from raymetrics.attacks.lbfgs import LinePoint, inverse_hessian_product, line_search, update_memory
from raymetrics.attacks.weights_objective import (
    ExactEvaluator,
    ObjectiveEvaluator,
    duality_gap,
    effective_sample_size,
)

# The standard deviation of the changes of log p in the first step.
_FIRST_CHANGE = 0.1
# In float32 a distance below this, relative to the mean |x|^2 of the candidates, is 0.
_ZERO_DISTANCE = 1e-7
# The number of evaluations over which progress is measured.
_PROGRESS_WINDOW = 10


class Step(NamedTuple):
    """The record of one point on the way."""

    evaluations: int  # so far, including this one
    distance: float
    effective_sample_size: float
    gap: float  # no weights are better by more than this


@dataclass(frozen=True, eq=False)
class LbfgsState:
    """The state of L-BFGS between two iterations: all that the next iteration depends on.

    `to_arrays` and `from_arrays` keep every bit.
    """

    evaluations: int
    point: np.ndarray  # float64 [n]
    distance: float
    slopes: np.ndarray  # float64 [n]: the objective's gradient by weights, at the point
    moves: np.ndarray  # float64 [k, n]: the last k differences of points, oldest first
    turns: np.ndarray  # float64 [k, n]: the last k differences of gradients
    trace: np.ndarray  # float64 [points so far, 4]: one Step a row
    stuck: bool  # the distance does not fall even along the gradient


@dataclass(frozen=True, eq=False)
class OptimizedWeights:
    """The result of a minimization."""

    weights: np.ndarray  # float64 [n], with a sum of 1
    trace: tuple[Step, ...]  # of every point, starting from equal weights
    converged: bool  # the stopping rule ended it, not the number of evaluations

    @property
    def distance(self) -> float:
        """The Frechet distance at the weights."""
        return self.trace[-1].distance

    @property
    def effective_sample_size(self) -> float:
        """The effective sample size 1 / sum p_i^2."""
        return self.trace[-1].effective_sample_size

    @property
    def gap(self) -> float:
        """The duality gap: no weights are better by more than this; often far from tight."""
        return self.trace[-1].gap

    def restore_unit(self, unit: float) -> OptimizedWeights:
        """Multiply distances by unit^2, for features that were divided by the unit."""
        return replace(self, trace=tuple(_restore_unit_of_step(step, unit) for step in self.trace))

    @property
    def evaluations(self) -> int:
        """The number of evaluations of the objective."""
        return self.trace[-1].evaluations


def _restore_unit_of_step(step: Step, unit: float) -> Step:
    return step._replace(distance=step.distance * unit**2, gap=step.gap * unit**2)


def with_exact_distance(optimized: OptimizedWeights, evaluate: ExactEvaluator) -> OptimizedWeights:
    """Replace the distance at the weights by the distance computed in float64.

    With fewer candidates than dimensions, the products in float32 change the distance by up to a
    ten-thousandth.
    """
    last = optimized.trace[-1]._replace(distance=evaluate.exact_distance(optimized.weights))
    return replace(optimized, trace=(*optimized.trace[:-1], last))


def minimize_distance(
    evaluate: ObjectiveEvaluator,
    *,
    max_evaluations: int,
    tolerance: float = 1e-3,
    state: LbfgsState | None = None,
    on_step: Callable[[LbfgsState], None] | None = None,
) -> OptimizedWeights:
    """Find the weights with the smallest distance, starting from equal weights or from a state.

    Ends when the last 10 evaluations have lowered the distance by less than `tolerance` of it (with
    1e-3, usually after 30 to 60 evaluations and within 0.1 % of the minimum), when the distance is
    0 to the precision of float32, or after max_evaluations, including the evaluations of the state.
    on_step: called with every new state. A run that resumes from any of these states gives the same
    bits as a run that never stopped, also with another max_evaluations. Raise ValueError if
    max_evaluations < 1.
    """
    problem = _Problem.from_evaluator(
        evaluate, max_evaluations, 0 if state is None else state.evaluations
    )
    report = on_step or (lambda state: None)
    converged = False
    try:
        if state is None:
            state = _initial_state(problem)
            report(state)
        while not (converged := _is_converged(state, tolerance, problem.zero)):
            state = _advance(problem, state)
            report(state)
    except _OutOfBudget:
        if state is None:
            raise ValueError(f"max_evaluations is {max_evaluations}, not at least 1") from None
    trace = tuple(Step(int(row[0]), *row[1:].tolist()) for row in state.trace)
    return OptimizedWeights(problem.weights(state.point), trace, converged)


def weights_of_state(evaluate: ObjectiveEvaluator, state: LbfgsState) -> np.ndarray:
    """Compute the weights that a state of `minimize_distance` has reached, float64 [n]."""
    return _Problem.from_evaluator(evaluate, 0, 0).weights(state.point)


class _OutOfBudget(Exception):
    """The error of an evaluation beyond max_evaluations; `minimize_distance` catches it."""


class _PointValue(NamedTuple):
    """The objective at a point, as a function of the point."""

    point: np.ndarray
    distance: float
    weight_gradient: np.ndarray  # by weights
    gradient: np.ndarray  # by the point


@dataclass
class _Problem:
    """The objective as a function of points instead of weights; counts its evaluations."""

    evaluate: ObjectiveEvaluator
    max_evaluations: int
    evaluations: int
    scale: np.ndarray = field(repr=False)  # float64 [n]: a
    zero: float  # a distance that float32 cannot tell from 0

    @classmethod
    def from_evaluator(
        cls, evaluate: ObjectiveEvaluator, max_evaluations: int, evaluations: int
    ) -> _Problem:
        """Set a_i = |x_i|, in units of the root mean square of |x|, and bounded away from 0."""
        squares = evaluate.norms**2
        power = float(squares.mean())
        scale = np.sqrt((squares + 1e-4 * power) / power) if power > 0 else np.ones(len(squares))
        return cls(evaluate, max_evaluations, evaluations, scale, _ZERO_DISTANCE * power)

    def weights(self, point: np.ndarray) -> np.ndarray:
        """Compute the weights p of the point s."""
        squares = (point / self.scale) ** 2
        return np.asarray(squares / squares.sum())

    def evaluate_point(self, point: np.ndarray) -> _PointValue:
        """Evaluate the objective at a point. Raise _OutOfBudget beyond max_evaluations."""
        if self.evaluations >= self.max_evaluations:
            raise _OutOfBudget
        self.evaluations += 1
        return self.with_gradient(point, *self.evaluate(self.weights(point)))

    def with_gradient(
        self, point: np.ndarray, distance: float, weight_gradient: np.ndarray
    ) -> _PointValue:
        """Add dF/ds_i = 2 s_i (h_i - p.h) / a_i^2 sum to an evaluation."""
        squares = (point / self.scale) ** 2
        total = squares.sum()
        gradient = (
            2
            * point
            * (weight_gradient - (squares @ weight_gradient) / total)
            / (self.scale**2 * total)
        )
        return _PointValue(point, distance, weight_gradient, gradient)

    def make_step(self, point_value: _PointValue) -> Step:
        """Return the entry of the trace for a point."""
        weights = self.weights(point_value.point)
        spread = effective_sample_size(weights)
        return Step(
            self.evaluations,
            point_value.distance,
            spread,
            duality_gap(weights, point_value.weight_gradient),
        )


def _initial_state(problem: _Problem) -> LbfgsState:
    """Evaluate equal weights."""
    first = problem.evaluate_point(problem.scale)
    no_pairs = np.empty((0, len(first.point)))
    trace = np.array([problem.make_step(first)], np.float64)
    return LbfgsState(problem.evaluations, *first[:3], no_pairs, no_pairs, trace, stuck=False)


def _is_converged(state: LbfgsState, tolerance: float, zero: float) -> bool:
    """Return whether the distance is 0, progress is slow, or the state is stuck."""
    evaluations, distances = state.trace[:, 0], state.trace[:, 1]
    earlier = distances[evaluations <= state.evaluations - _PROGRESS_WINDOW]
    slow = len(earlier) > 0 and earlier[-1] - state.distance < tolerance * abs(state.distance)
    return bool(slow) or state.stuck or state.distance <= zero


def _advance(problem: _Problem, state: LbfgsState) -> LbfgsState:
    """Move to the next point.

    If the line search finds none, the next state has no memory; if it had none already, it is
    stuck.
    """
    current = problem.with_gradient(state.point, state.distance, state.slopes)
    direction, length = _descent_direction(current, state.moves, state.turns)

    def try_length(length: float) -> LinePoint:
        point_value = problem.evaluate_point(current.point + length * direction)
        return LinePoint(
            length, point_value.distance, float(point_value.gradient @ direction), point_value
        )

    start = LinePoint(0.0, current.distance, float(current.gradient @ direction), current)
    accepted = line_search(try_length, start, length)
    if accepted is None:
        no_pairs = np.empty((0, len(current.point)))
        stuck = len(state.moves) == 0
        return LbfgsState(problem.evaluations, *current[:3], no_pairs, no_pairs, state.trace, stuck)
    reached: _PointValue = accepted.payload
    point_changes, gradient_changes = update_memory(
        state.moves, state.turns, reached.point - current.point, reached.gradient - current.gradient
    )
    trace = np.concatenate([state.trace, [problem.make_step(reached)]])
    return LbfgsState(
        problem.evaluations, *reached[:3], point_changes, gradient_changes, trace, stuck=False
    )


def _descent_direction(
    current: _PointValue, point_changes: np.ndarray, gradient_changes: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return a direction in which the distance falls, and the length to try first."""
    if len(point_changes):
        direction = -inverse_hessian_product(current.gradient, point_changes, gradient_changes)
        if direction @ current.gradient < 0:
            return direction, 1.0
    direction = -current.gradient
    # d log p = 2 ds / s, up to the sum of weights. A weight of 0 stays 0.
    is_used = current.point != 0
    change = 2 * direction[is_used] / current.point[is_used]
    spread = np.sqrt((change**2).mean())
    return direction, _FIRST_CHANGE / spread if spread > 0 else 1.0
