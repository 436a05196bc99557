"""The paper's descent against autograd, step by step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raymetrics.attacks import (
    DescentState,
    InMemoryEvaluator,
    TargetGaussian,
    descend,
    minimize_distance,
    paper_loss,
    program_loss,
)
from raymetrics.statistics import Moments, from_arrays, to_arrays

STEPS, RATE = 6, 1.0


@pytest.fixture
def sets(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mixing = rng.normal(size=(5, 5))
    return rng.normal(size=(40, 5)) @ mixing, rng.normal(0.3, 1.4, size=(60, 5)) @ mixing


def by_autograd(
    real: np.ndarray, generated: np.ndarray, ddof: int
) -> tuple[list[float], np.ndarray]:
    """The losses before each step, and the log-weights after the last, by torch.

    The formula of the official program: a trace of roots of the eigenvalues of the product, with
    1e-12 below the root, and the covariance divided by the sum of weights less ddof.
    """
    x, mean = torch.tensor(generated), torch.tensor(real.mean(axis=0))
    covariance = torch.tensor(np.cov(real.T))
    w = torch.zeros(len(x), 1, dtype=torch.float64, requires_grad=True)
    losses = []
    for _ in range(STEPS):
        weights = w.exp()
        centre = (weights * x).sum(0) / weights.sum()
        y = x - centre
        spread = y.T @ (weights * y) / (weights.sum() - ddof)
        overlap = (torch.linalg.eigvals(spread @ covariance).real + 1e-12).sqrt().sum()
        loss = ((mean - centre) ** 2).sum() + covariance.trace() + spread.trace() - 2 * overlap
        losses.append(loss.item())
        (slope,) = torch.autograd.grad(loss, w)
        w = (w - RATE * slope).detach().requires_grad_()
    return losses, w.detach().numpy()[:, 0]


@pytest.mark.parametrize("ddof", [0, 1])
def test_loss_and_weights_of_every_step(sets: tuple[np.ndarray, np.ndarray], ddof: int) -> None:
    real, generated = sets
    goal = TargetGaussian.from_moments(Moments.from_samples(real), candidate_ddof=ddof)
    evaluate = InMemoryEvaluator(goal, generated - goal.mean)
    loss = program_loss(evaluate) if ddof else paper_loss(evaluate)
    found = descend(loss, len(generated), max_evaluations=STEPS + 1, learning_rate=RATE)
    losses, log_weights = by_autograd(real, generated, ddof)
    np.testing.assert_allclose([s.distance for s in found.trace[:-1]], losses, rtol=1e-9)
    weights = np.exp(log_weights)
    np.testing.assert_allclose(found.weights, weights / weights.sum(), rtol=1e-8)
    assert losses[-1] < losses[0]


def test_the_last_distance_is_that_of_the_weights(sets: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = sets
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    evaluate = InMemoryEvaluator(goal, generated - goal.mean)
    found = descend(paper_loss(evaluate), 60, max_evaluations=5)
    assert found.evaluations == len(found.trace) == 5
    assert evaluate(found.weights).distance == pytest.approx(found.distance, rel=1e-12)


def test_goes_on_from_any_state_with_the_same_bits(sets: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = sets
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    loss = paper_loss(InMemoryEvaluator(goal, goal.center_features(generated)))
    states: list[DescentState] = []
    whole = descend(loss, 60, max_evaluations=20, on_step=states.append, report_every=4)
    assert [state.evaluations for state in states] == [1, 4, 8, 12, 16]
    for state in states:
        back = from_arrays(DescentState, to_arrays(state))
        later = descend(loss, 60, max_evaluations=20, state=back)
        np.testing.assert_array_equal(later.weights, whole.weights)
        assert later.trace == whole.trace


def test_both_optimisers_come_to_the_same(sets: tuple[np.ndarray, np.ndarray]) -> None:
    real, generated = sets
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    evaluate = InMemoryEvaluator(goal, generated - goal.mean)
    slow = descend(paper_loss(evaluate), 60, max_evaluations=2000, learning_rate=0.5)
    quick = minimize_distance(evaluate, max_evaluations=100)
    start = slow.trace[0].distance
    assert quick.distance <= slow.distance + 1e-3 * start
    assert slow.distance < 0.1 * start
    assert quick.evaluations <= 100
