"""The optimiser: optima that are known, resumed runs, and problems that are degenerate."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest

from raymetrics.attacks import (
    InMemoryEvaluator,
    LbfgsState,
    OptimizedWeights,
    TargetGaussian,
    minimize_distance,
)
from raymetrics.attacks.weights_objective import Evaluation
from raymetrics.statistics import Moments, from_arrays, to_arrays


def of_arrays(real: np.ndarray, generated: np.ndarray, ddof: int = 1) -> InMemoryEvaluator:
    goal = TargetGaussian.from_moments(Moments.from_samples(real), ddof)
    return InMemoryEvaluator(goal, goal.center_features(generated))


def mixture(rng: np.random.Generator, count: int, shift: float, dimension: int = 24) -> np.ndarray:
    """Clusters, none of them negative, as features are behind a ReLU."""
    spectrum = np.arange(1, dimension + 1) ** -0.6
    centres = np.random.default_rng(1).normal(size=(12, dimension)) * 2 * spectrum
    share = np.arange(1, 13) ** -shift
    of = rng.choice(12, size=count, p=share / share.sum())
    noise = rng.normal(size=(count, dimension)) * spectrum
    return np.maximum(centres[of] + noise + 0.1, 0).astype(np.float32)


@pytest.fixture
def problem(rng: np.random.Generator) -> InMemoryEvaluator:
    """As in the paper, fewer candidates than the covariance has numbers."""
    return of_arrays(mixture(rng, 100, 0.0, 40), mixture(rng, 300, 1.2, 40))


class Counted:
    """An evaluator that counts its calls."""

    def __init__(self, of: InMemoryEvaluator) -> None:
        self.of, self.calls = of, 0

    @property
    def norms(self) -> np.ndarray:
        return self.of.norms

    def __call__(self, weights: np.ndarray) -> Evaluation:
        self.calls += 1
        return self.of(weights)


def test_real_samples_among_the_candidates_are_found(rng: np.random.Generator) -> None:
    """With fewer candidates than moments no other weights have a distance of 0."""
    real, others = rng.normal(size=(15, 8)), rng.normal(0.5, 1.5, size=(20, 8))
    found = minimize_distance(
        of_arrays(real, np.concatenate([real, others]), ddof=0), max_evaluations=2000, tolerance=0
    )
    assert found.distance < 1e-6 * found.trace[0].distance
    np.testing.assert_allclose(found.weights[:15], 1 / 15, rtol=0.02)
    assert found.weights[15:].sum() < 0.02


def test_two_clusters_get_the_real_proportions() -> None:
    real = np.repeat([[-1.0, 0.0], [1.0, 0.0]], [70, 30], axis=0)
    generated = np.repeat([[-1.0, 0.0], [1.0, 0.0]], [10, 40], axis=0)
    found = minimize_distance(of_arrays(real, generated, ddof=0), max_evaluations=100)
    assert found.converged
    np.testing.assert_allclose(found.weights[:10], 0.07, rtol=1e-3)
    np.testing.assert_allclose(found.weights[10:], 0.3 / 40, rtol=1e-3)
    assert found.effective_sample_size == pytest.approx(1 / (10 * 0.07**2 + 0.3**2 / 40), rel=1e-3)


def test_ends_by_itself_near_the_minimum(problem: InMemoryEvaluator) -> None:
    evaluate = Counted(problem)
    found = minimize_distance(evaluate, max_evaluations=100)
    best = minimize_distance(problem, max_evaluations=500, tolerance=0).distance
    assert found.converged
    assert found.evaluations <= evaluate.calls <= 60
    assert found.distance < 1.001 * best
    assert found.distance - found.gap <= best
    assert found.weights.sum() == pytest.approx(1)
    assert (found.weights >= 0).all()
    again = problem(found.weights)
    assert again.distance == found.distance


def test_the_distance_only_falls(problem: InMemoryEvaluator) -> None:
    trace = np.array(minimize_distance(problem, max_evaluations=200, tolerance=0).trace)
    assert (np.diff(trace[:, 0]) >= 1).all()
    assert (np.diff(trace[:, 1]) <= 1e-6 * trace[1:, 1]).all()
    assert trace[0, 2] == pytest.approx(len(problem.norms))


@pytest.mark.parametrize("budget", [1, 2, 7])
def test_spends_no_more_than_its_budget(problem: InMemoryEvaluator, budget: int) -> None:
    evaluate = Counted(problem)
    found = minimize_distance(evaluate, max_evaluations=budget)
    assert evaluate.calls == budget
    assert not found.converged
    if budget == 1:
        np.testing.assert_allclose(found.weights, 1 / len(found.weights))


def assert_same_bits(a: OptimizedWeights, b: OptimizedWeights) -> None:
    np.testing.assert_array_equal(a.weights, b.weights)
    assert a.trace == b.trace
    assert a.converged == b.converged


def reread(state: LbfgsState) -> LbfgsState:
    """Written to a file and read again."""
    file = io.BytesIO()
    np.savez(file, **to_arrays(state))
    file.seek(0)
    with np.load(file) as arrays:
        back: LbfgsState = from_arrays(LbfgsState, arrays)
    return back


def test_goes_on_from_any_state_with_the_same_bits(problem: InMemoryEvaluator) -> None:
    states: list[LbfgsState] = []
    whole = minimize_distance(problem, max_evaluations=40, on_step=states.append)
    assert len(states) == len(whole.trace)
    assert_same_bits(minimize_distance(problem, max_evaluations=40), whole)
    for state in states[::5] + states[-1:]:
        evaluate = Counted(problem)
        assert_same_bits(
            minimize_distance(evaluate, max_evaluations=40, state=reread(state)), whole
        )
        assert evaluate.calls <= 40 - state.evaluations


def test_a_spent_budget_can_be_raised(problem: InMemoryEvaluator) -> None:
    whole = minimize_distance(problem, max_evaluations=30, tolerance=0)
    for budget in (1, 4, 17):
        states: list[LbfgsState] = []
        minimize_distance(problem, max_evaluations=budget, tolerance=0, on_step=states.append)
        later = minimize_distance(problem, max_evaluations=30, tolerance=0, state=states[-1])
        assert_same_bits(later, whole)


def test_an_interrupted_run_goes_on(problem: InMemoryEvaluator) -> None:
    """Killed within an evaluation, at any of them."""
    whole = minimize_distance(problem, max_evaluations=15)

    class Killed(Counted):
        def __call__(self, weights: np.ndarray) -> Evaluation:
            if self.calls == 9:
                raise KeyboardInterrupt
            return super().__call__(weights)

    states: list[LbfgsState] = []
    with pytest.raises(KeyboardInterrupt):
        minimize_distance(Killed(problem), max_evaluations=15, on_step=states.append)
    assert_same_bits(minimize_distance(problem, max_evaluations=15, state=states[-1]), whole)


def test_the_order_of_candidates_means_nothing(rng: np.random.Generator) -> None:
    real, generated = mixture(rng, 100, 0.0), mixture(rng, 300, 1.2)
    order = rng.permutation(300)
    found = minimize_distance(of_arrays(real, generated), max_evaluations=30)
    turned = minimize_distance(of_arrays(real, generated[order]), max_evaluations=30)
    assert turned.distance == pytest.approx(found.distance, rel=1e-4)
    np.testing.assert_allclose(turned.weights, found.weights[order], atol=0.05 / 300)


def sets(rng: np.random.Generator, real: int, generated: int, dimension: int) -> list[np.ndarray]:
    return [mixture(rng, real, 0.0, dimension), mixture(rng, generated, 1.2, dimension)]


def one_hot(rng: np.random.Generator, count: int, share: np.ndarray) -> np.ndarray:
    return np.eye(len(share), dtype=np.float32)[rng.choice(len(share), size=count, p=share)]


def fewer_real_than_dimensions(rng: np.random.Generator) -> list[np.ndarray]:
    return sets(rng, 20, 150, 32)


def fewer_candidates_than_dimensions(rng: np.random.Generator) -> list[np.ndarray]:
    return sets(rng, 150, 20, 32)


def dead_columns(rng: np.random.Generator) -> list[np.ndarray]:
    a, b = sets(rng, 80, 200, 16)
    a[:, [0, 5]] = b[:, [0, 5]] = 0
    a[:, 7] = 0
    b[:, 9] = 0
    return [a, b]


def another_constant(rng: np.random.Generator) -> list[np.ndarray]:
    a, b = sets(rng, 80, 200, 16)
    a[:, 3], b[:, 3] = 1, 11
    return [a, b]


def duplicates(rng: np.random.Generator) -> list[np.ndarray]:
    a, b = sets(rng, 80, 60, 16)
    return [a, np.repeat(b, 4, axis=0)]


def all_the_same(rng: np.random.Generator) -> list[np.ndarray]:
    a, b = sets(rng, 80, 60, 16)
    return [a, np.repeat(b[:1], 50, axis=0)]


def one_candidate(rng: np.random.Generator) -> list[np.ndarray]:
    return sets(rng, 80, 1, 16)


def one_real_value(rng: np.random.Generator) -> list[np.ndarray]:
    a, b = sets(rng, 80, 60, 16)
    return [np.repeat(a[:1], 50, axis=0), b]


def the_same_sets(rng: np.random.Generator) -> list[np.ndarray]:
    a, _ = sets(rng, 80, 60, 16)
    return [a, a]


def at_the_mean(rng: np.random.Generator) -> list[np.ndarray]:
    a, b = sets(rng, 80, 60, 16)
    b[:3] = a.mean(axis=0)
    return [a, b]


def tiny_numbers(rng: np.random.Generator) -> list[np.ndarray]:
    return [x * np.float32(1e-4) for x in sets(rng, 80, 200, 16)]


def large_numbers(rng: np.random.Generator) -> list[np.ndarray]:
    return [x * np.float32(1e4) for x in sets(rng, 80, 200, 16)]


def far_from_the_origin(rng: np.random.Generator) -> list[np.ndarray]:
    return [x + np.float32(1000) for x in sets(rng, 80, 200, 16)]


def classes(rng: np.random.Generator) -> list[np.ndarray]:
    return [one_hot(rng, 200, np.full(8, 1 / 8)), one_hot(rng, 500, np.arange(1, 9) / 36)]


DEGENERATE = [
    fewer_real_than_dimensions, fewer_candidates_than_dimensions, dead_columns, another_constant,
    duplicates, all_the_same, one_candidate, one_real_value, the_same_sets, at_the_mean,
    tiny_numbers, large_numbers, far_from_the_origin, classes,
]  # fmt: skip


@pytest.mark.parametrize("made", DEGENERATE, ids=lambda made: made.__name__)
def test_degenerate_problems(
    rng: np.random.Generator, made: Callable[[np.random.Generator], list[np.ndarray]]
) -> None:
    """No NaN, no warning, no rise, nor far above what a run of 300 in float64 finds."""
    real, generated = made(rng)
    evaluate = of_arrays(real, generated)
    found = minimize_distance(evaluate, max_evaluations=100)
    first, power = found.trace[0].distance, (evaluate.norms**2).mean()
    assert np.isfinite(found.weights).all()
    assert found.weights.sum() == pytest.approx(1)
    assert np.isfinite(np.array(found.trace)).all()
    assert found.distance <= first + 1e-6 * power
    goal = evaluate.target
    exact = InMemoryEvaluator(goal, generated - goal.mean)
    best = minimize_distance(exact, max_evaluations=300, tolerance=0).distance
    assert found.distance <= 1.001 * best + 2e-3 * max(first - best, 0) + 1e-6 * power


def test_another_constant_is_a_floor(rng: np.random.Generator) -> None:
    found = minimize_distance(of_arrays(*another_constant(rng)), max_evaluations=60)
    assert 100 < found.distance < found.trace[0].distance


def test_classes_are_matched_at_once(rng: np.random.Generator) -> None:
    """One-hot candidates can have any class counts: 0 is reached, but for the real ddof."""
    real, generated = classes(rng)
    found = minimize_distance(of_arrays(real, generated, ddof=0), max_evaluations=30)
    assert found.distance < 1e-6
    np.testing.assert_allclose(found.weights @ generated, real.mean(axis=0), atol=1e-3)


def test_a_budget_of_nothing(problem: InMemoryEvaluator) -> None:
    with pytest.raises(ValueError, match="not at least 1"):
        minimize_distance(problem, max_evaluations=0)
