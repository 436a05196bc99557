"""The baseline: plain gradient descent on log-weights (Kynkaanniemi et al. 2023, Algorithm 1).

The paper takes 100,000 steps with a rate of 10 for pre-logits and 5 for logits and classes.
`minimise` passes where they lead after a dozen evaluations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from raymetrics.attacks.weights_objective import (
    Evaluator,
    Goal,
    effective_sample_size,
    gap,
    transport,
)
from raymetrics.attacks.weights_optimizer import Optimised, Step
from raymetrics.statistics import WeightedMoments


class Loss(NamedTuple):
    """The distance at some log-weights."""

    distance: float
    gradient: np.ndarray  # float64 [n], by log-weights
    gap: float  # no weights are better by more than this


@dataclass(frozen=True, eq=False)
class DescentState:
    """All that the next step depends on; `to_arrays` and `from_arrays` keep every bit."""

    log_weights: np.ndarray  # float64 [n], after the last step
    trace: np.ndarray  # float64 [steps taken, 4]: a Step for each point that was left

    @property
    def evaluations(self) -> int:
        """How many there were: one a step."""
        return len(self.trace)


def descend(
    loss: Callable[[np.ndarray], Loss],
    count: int,
    *,
    max_evaluations: int,
    learning_rate: float = 10.0,
    state: DescentState | None = None,
    told: Callable[[DescentState], None] | None = None,
    told_every: int = 100,
) -> Optimised:
    """Algorithm 1 with T = max_evaluations - 1 steps; the last evaluation is of where they lead.

    loss: `by_the_paper` or `by_the_program`, of log-weights float64 [count]. The trace holds the
    distance before each step, as the official program prints it, and the last one. told: is given
    the state after every so many steps; going on from any of them gives the same bits as never
    having stopped.
    """
    log_weights = np.zeros(count) if state is None else state.log_weights
    trace = [] if state is None else [Step(int(row[0]), *row[1:].tolist()) for row in state.trace]
    while len(trace) < max_evaluations - 1:
        found = loss(log_weights)
        trace.append(step(len(trace) + 1, found, log_weights))
        log_weights = log_weights - learning_rate * found.gradient
        if told is not None and len(trace) % told_every == 0:
            told(DescentState(log_weights, np.array(trace)))
    trace.append(step(len(trace) + 1, loss(log_weights), log_weights))
    return Optimised(normalised(log_weights), tuple(trace), finished=False)


def step(evaluations: int, found: Loss, log_weights: np.ndarray) -> Step:
    """What the trace keeps of a point."""
    spread = effective_sample_size(normalised(log_weights))
    return Step(evaluations, found.distance, spread, found.gap)


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """p_i = e^w_i / sum_j e^w_j, float64 [n]."""
    weights = np.exp(log_weights - log_weights.max())
    return np.asarray(weights / weights.sum())


def by_the_paper(evaluate: Evaluator) -> Callable[[np.ndarray], Loss]:
    """Eq. 3 and Algorithm 1: the covariance is divided by sum e^w. dF/dw_i = p_i (h_i - p.h)."""

    def loss(log_weights: np.ndarray) -> Loss:
        weights = normalised(log_weights)
        distance, slopes = evaluate(weights)
        gradient = weights * (slopes - weights @ slopes)
        return Loss(distance, gradient, gap(weights, slopes))

    return loss


def by_the_program(goal: Goal, features: np.ndarray) -> Callable[[np.ndarray], Loss]:
    """As the official program has it: the covariance is divided by sum e^w - 1.

    features: float64 [n, d], centred at the goal's mean. With c = sum e^w / (sum e^w - 1), y_i
    the distance from the weighted mean m, and T of the covariance that was divided so,

        dF/dw_i = p_i (h_i - c p.h),  h_i = 2 y_i.m + c (|y_i|^2 - y_i^T T y_i)

    The scale of e^w is no longer without meaning, and there is no gap: NaN.
    """

    def loss(log_weights: np.ndarray) -> Loss:
        moments = WeightedMoments.of(features, np.exp(log_weights))
        found = transport(goal, moments, ddof=1)
        excess = moments.weight / (moments.weight - 1)
        weights, y = np.exp(log_weights) / moments.weight, features - found.mean
        bend = (y**2).sum(axis=1) - ((y @ found.root) ** 2).sum(axis=1)
        slopes = 2 * y @ found.mean + excess * bend
        return Loss(found.distance, weights * (slopes - excess * (weights @ slopes)), np.nan)

    return loss
