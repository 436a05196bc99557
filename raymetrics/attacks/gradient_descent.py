"""The baseline: plain gradient descent on log-weights (Kynkaanniemi et al. 2023, Algorithm 1).

The paper takes 100,000 steps with a learning rate of 10 for pre-logits and 5 for logits and
classes. `minimize_distance` reaches a smaller distance after a dozen evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raymetrics.attacks.weights_objective import (
    ObjectiveEvaluator,
    duality_gap,
    effective_sample_size,
)
from raymetrics.attacks.weights_optimizer import OptimizedWeights, Step

# The covariance of the candidates is divided by the sum of weights less this.
COVARIANCES = {"paper": 0, "program": 1}


class Loss(NamedTuple):
    """The distance at some log-weights."""

    distance: float
    gradient: np.ndarray  # float64 [n], by log-weights
    gap: float  # no weights are better by more than this


@dataclass(frozen=True, eq=False)
class DescentState:
    """The state of a descent between two steps: all that the next step depends on.

    `to_arrays` and `from_arrays` keep every bit.
    """

    log_weights: np.ndarray  # float64 [n], after the last step
    trace: np.ndarray  # float64 [steps taken, 4]: a Step for each point that was left

    @property
    def evaluations(self) -> int:
        """The number of evaluations so far: one for each step."""
        return len(self.trace)


def descend(
    loss: Callable[[np.ndarray], Loss],
    count: int,
    *,
    max_evaluations: int,
    learning_rate: float = 10.0,
    state: DescentState | None = None,
    on_step: Callable[[DescentState], None] | None = None,
    report_every: int = 100,
) -> OptimizedWeights:
    """Run Algorithm 1 for T = max_evaluations - 1 steps and evaluate the point that they lead to.

    loss: a function of log-weights float64 [count], from `paper_loss` or `program_loss`. The
    trace holds the distance before each step, as the official program prints it, and the last
    distance. on_step: called with the state after the first step and after every `report_every`
    steps. A descent that resumes from any of these states gives the same bits as a descent that
    never stopped.
    """
    log_weights = np.zeros(count) if state is None else state.log_weights
    trace = [] if state is None else [Step(int(row[0]), *row[1:].tolist()) for row in state.trace]
    while len(trace) < max_evaluations - 1:
        current_loss = loss(log_weights)
        trace.append(_make_step(len(trace) + 1, current_loss, log_weights))
        log_weights = log_weights - learning_rate * current_loss.gradient
        if on_step is not None and (len(trace) == 1 or len(trace) % report_every == 0):
            on_step(DescentState(log_weights, np.array(trace)))
    trace.append(_make_step(len(trace) + 1, loss(log_weights), log_weights))
    return OptimizedWeights(normalize_log_weights(log_weights), tuple(trace), converged=False)


def _make_step(evaluations: int, loss: Loss, log_weights: np.ndarray) -> Step:
    """Return the entry of the trace for a point."""
    spread = effective_sample_size(normalize_log_weights(log_weights))
    return Step(evaluations, loss.distance, spread, loss.gap)


def normalize_log_weights(log_weights: np.ndarray) -> np.ndarray:
    """Compute p_i = e^w_i / sum_j e^w_j, float64 [n]."""
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def paper_loss(evaluate: ObjectiveEvaluator) -> Callable[[np.ndarray], Loss]:
    """Return the loss of the paper (Eq. 3 and Algorithm 1), as a function of log-weights.

    The covariance is divided by sum e^w, and dF/dw_i = p_i (h_i - p.h).
    """

    def loss(log_weights: np.ndarray) -> Loss:
        weights = normalize_log_weights(log_weights)
        distance, weight_gradient = evaluate(weights)
        gradient = weights * (weight_gradient - weights @ weight_gradient)
        return Loss(distance, gradient, duality_gap(weights, weight_gradient))

    return loss


def program_loss(evaluate: ObjectiveEvaluator) -> Callable[[np.ndarray], Loss]:
    """Return the loss of the official program, as a function of log-weights.

    The program divides the covariance by sum e^w - 1. evaluate: with a target whose
    `candidate_ddof` is 1. With c = sum e^w / (sum e^w - 1), y_i = x_i - m for the weighted mean m,
    and the map T of this covariance,

        dF/dw_i = p_i (h_i - c p.h),  h_i = 2 y_i.m + c (|y_i|^2 - y_i^T T y_i)

    Here the scale of e^w changes the distance, so there is no duality gap: it is NaN.
    """

    def loss(log_weights: np.ndarray) -> Loss:
        masses = np.exp(log_weights)
        total = masses.sum()
        # Evaluators multiply weights by their number, so that these sum to the sum of e^w there.
        distance, weight_gradient = evaluate(masses / len(masses))
        weights, excess = masses / total, total / (total - 1)
        gradient = weights * (weight_gradient - excess * (weights @ weight_gradient))
        return Loss(distance, gradient, np.nan)

    return loss
