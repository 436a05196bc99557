"""The distance of weights and its slopes: against moments, differences, autograd, convexity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymetrics.attacks import InMemoryEvaluator, TargetGaussian, weights_objective
from raymetrics.attacks.weights_objective import (
    duality_gap,
    effective_sample_size,
    objective_gradient,
    row_norms,
)
from raymetrics.metrics import frechet_distance
from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map
from raymetrics.statistics import Moments, WeightedMoments, processors
from tests.helpers.fake_cuda import CUDA, fake_cuda


def problem(
    seed: int, real: int = 60, generated: int = 90, dimension: int = 6, at: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of correlated features, far from the origin."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(dimension, dimension))
    return (
        rng.normal(size=(real, dimension)) @ mixing + at,
        rng.normal(0.2, 1.3, size=(generated, dimension)) @ mixing + at,
    )


def evaluator(real: np.ndarray, generated: np.ndarray, ddof: int = 1) -> InMemoryEvaluator:
    """In float64, for comparisons beyond float32's."""
    goal = TargetGaussian.from_moments(Moments.from_samples(real), ddof)
    return InMemoryEvaluator(goal, generated - goal.mean)


def some_weights(seed: int, count: int) -> np.ndarray:
    weights = np.random.default_rng(seed).gamma(0.7, size=count)
    return weights / weights.sum()


def of_samples(real: np.ndarray, generated: np.ndarray) -> float:
    """Eq. 3 with equal weights, by the metric: the generated covariance has no ddof."""
    of_real = Gaussian.from_moments(Moments.from_samples(real), 1)
    of_generated = Gaussian.from_moments(Moments.from_samples(generated), 0)
    return frechet_distance(real=of_real, generated=of_generated)


@pytest.mark.parametrize("real_count", [60, 5])  # of 5, the covariance is singular
def test_equal_weights_are_the_frechet_distance(real_count: int) -> None:
    real, generated = problem(0, real=real_count)
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    expected = of_samples(real, generated)
    equal = np.full(len(generated), 1 / len(generated))
    exact = InMemoryEvaluator(goal, generated - goal.mean)(equal)
    assert exact.distance == pytest.approx(expected, rel=1e-10)
    rounded = InMemoryEvaluator(goal, goal.center_features(generated.astype(np.float32)))(equal)
    assert rounded.distance == pytest.approx(expected, rel=1e-6)


def test_whole_numbers_as_weights_are_repeated_samples(rng: np.random.Generator) -> None:
    real, generated = problem(1)
    counts = rng.integers(0, 4, size=len(generated))
    found = evaluator(real, generated)(counts / counts.sum()).distance
    expected = of_samples(real, np.repeat(generated, counts, axis=0))
    assert found == pytest.approx(expected, rel=1e-10)


def test_thousands_of_float32_features(rng: np.random.Generator) -> None:
    """Over more than one block, at the precision that is promised."""
    spectrum = np.arange(1, 65) ** -0.7
    real, generated = (
        np.maximum(rng.normal(size=(n, 64)) * spectrum + at, 0).astype(np.float32)
        for n, at in ((1000, 0.3), (weights_objective.BLOCK * 2 + 100, 0.35))
    )
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    counts = rng.integers(0, 3, size=len(generated))
    found = InMemoryEvaluator(goal, goal.center_features(generated))(counts / counts.sum()).distance
    expected = of_samples(real, np.repeat(generated, counts, axis=0))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_slopes_are_those_of_differences(seed: int) -> None:
    real, generated = problem(seed)
    evaluate, weights = evaluator(real, generated), some_weights(seed, len(generated))
    direction = some_weights(seed + 10, len(generated)) - weights  # the sum stays 1
    here, there = (evaluate(weights + t * direction).distance for t in (-1e-4, 1e-4))
    expected = (there - here) / 2e-4
    assert evaluate(weights).weight_gradient @ direction == pytest.approx(expected, rel=1e-5)


def by_autograd(real: np.ndarray, generated: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Eq. 3 as written, differentiated by torch through the eigenvalues of S S_r."""
    p = torch.tensor(weights, requires_grad=True)
    x = torch.tensor(generated)
    mean = (p @ x) / p.sum()
    covariance = (x - mean).T @ ((x - mean) * p[:, None]) / p.sum()
    other = torch.tensor(np.cov(real.T))
    overlap = torch.linalg.eigvals(covariance @ other).real.sqrt().sum()
    shift = mean - torch.tensor(real.mean(axis=0))
    (shift @ shift + covariance.trace() - 2 * overlap).backward()  # type: ignore[no-untyped-call]
    assert p.grad is not None
    return p.grad.numpy()


def test_slopes_are_autograd_s_up_to_a_constant() -> None:
    real, generated = problem(3)
    weights = some_weights(3, len(generated))
    found = evaluator(real, generated)(weights).weight_gradient
    expected = by_autograd(real, generated, weights)
    difference = found - expected
    np.testing.assert_allclose(difference, difference.mean(), atol=1e-9 * np.abs(expected).max())


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_convex_along_chords_and_above_its_tangents(seed: int, dimension: int, t: float) -> None:
    evaluate = evaluator(*problem(seed, real=20, generated=12, dimension=dimension))
    p, q = some_weights(seed + 1, 12), some_weights(seed + 2, 12)
    at_p, at_q = evaluate(p), evaluate(q)
    scale = 1e-9 * (1 + at_p.distance + at_q.distance)
    chord = t * at_p.distance + (1 - t) * at_q.distance
    assert evaluate(t * p + (1 - t) * q).distance <= chord + scale
    assert at_q.distance >= at_p.distance + at_p.weight_gradient @ (q - p) - scale
    assert at_q.distance >= at_p.distance - duality_gap(p, at_p.weight_gradient) - scale


@pytest.mark.parametrize("fast", [False, True])
def test_torch_tensors_and_arrays_are_treated_alike(
    device: torch.device, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fast: as on a GPU whose float64 is fast, where rounding in float32 ends."""
    monkeypatch.setattr(weights_objective, "has_fast_float64", lambda device: fast)
    monkeypatch.setattr(weights_objective, "BLOCK", 40)
    real, generated = problem(4, dimension=12)
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    features = goal.center_features(generated)
    weights = some_weights(4, len(generated))
    ours = InMemoryEvaluator(goal, features.astype(np.float64))
    theirs = InMemoryEvaluator(goal, torch.from_numpy(features).to(device))
    precision = 1e-10 if fast else 1e-6
    np.testing.assert_allclose(theirs.norms, ours.norms, rtol=1e-6)
    assert theirs.norms.dtype == np.float64
    a, b = ours(weights), theirs(weights)
    assert b.distance == pytest.approx(a.distance, rel=precision)
    np.testing.assert_allclose(
        b.weight_gradient, a.weight_gradient, atol=10 * precision * np.abs(a.weight_gradient).max()
    )
    assert theirs.exact_distance(weights) == pytest.approx(a.distance, rel=1e-10)


@pytest.mark.parametrize("capability", [(8, 9), (9, 0)])
def test_on_a_gpu_without_numbers(
    capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both types of products, L4's and H100's. Their values, cuSOLVER and the speed of a copy are
    not reached."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    types = set()
    product = WeightedMoments.from_samples
    monkeypatch.setattr(
        WeightedMoments,
        "from_samples",
        lambda features, weights: types.add(features.dtype) or product(features, weights),
    )
    real, generated = problem(4, dimension=12)
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    with fake_cuda():
        evaluate = InMemoryEvaluator(goal, torch.empty(len(generated), 12, device=CUDA))
        moments = evaluate.moments(some_weights(4, len(generated)))
        assert moments.products.device.type == evaluate.target.factor.device.type == "cuda"
        assert moments.products.dtype == evaluate.target.factor.dtype == torch.float64
        found = evaluate(some_weights(4, len(generated)))
    assert found.weight_gradient.shape == evaluate.norms.shape == (len(generated),)
    assert types == {torch.float64 if capability == (9, 0) else torch.float32}


def test_only_some_gpus_are_fast_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, fast in {(8, 0): True, (9, 0): True, (8, 6): False, (12, 0): False}.items():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)  # noqa: B023
        assert processors.has_fast_float64(CUDA) == fast
        assert not processors.has_fast_float64(torch.device("cpu"))
        assert not processors.has_fast_float64(np.empty(3).device)


@pytest.mark.parametrize("falls_to", [1.0, 1e-4, 1e-8])
def test_the_map_of_a_device_is_the_cpu_s(device: torch.device, falls_to: float) -> None:
    """To 1e-10, or to the square root of the condition of L^T b L where that leaves fewer digits.

    So many digits of T b T = a are lost by scipy's eigenvectors too, for conditions up to 1e14,
    where the guard of `optimal_map` ends it.
    """
    rng = np.random.default_rng(3)
    spectrum = np.geomspace(1, falls_to, 96) ** 0.5
    a, b = (np.cov((rng.normal(size=(400, 96)) * spectrum).T) for _ in range(2))
    factor, trace = covariance_factor(a), float(np.trace(a))
    expected = optimal_map(factor, trace, b)
    on_device = [torch.from_numpy(x).to(device) for x in (factor, b)]
    found = optimal_map(on_device[0], trace, on_device[1])
    assert float(found.overlap) == pytest.approx(expected.overlap, rel=1e-10)
    root = found.root.cpu().numpy()
    ours, theirs = expected.root @ expected.root.T, root @ root.T
    allowed = max(1e-10, 1e-13 * np.linalg.cond(factor.T @ b @ factor) ** 0.5)
    assert np.abs(theirs - ours).max() < allowed * np.abs(ours).max()
    assert np.abs(theirs @ b @ theirs - a).max() < allowed * np.abs(a).max()


def test_blocks_merge_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real, generated = problem(5)
    weights = some_weights(5, len(generated))
    whole = evaluator(real, generated)(weights)
    monkeypatch.setattr(weights_objective, "BLOCK", 7)
    parts = evaluator(real, generated)(weights)
    assert parts.distance == pytest.approx(whole.distance, rel=1e-12)
    np.testing.assert_allclose(parts.weight_gradient, whole.weight_gradient, rtol=1e-9, atol=1e-9)


def test_columns_that_never_vary_change_nothing() -> None:
    real, generated = problem(6)
    weights = some_weights(6, len(generated))
    expected = evaluator(real, generated)(weights)
    padded = [np.hstack([np.full((len(x), 1), 3.0), x, np.zeros((len(x), 2))]) for x in
              (real, generated)]  # fmt: skip
    found = evaluator(*padded)(weights)
    assert found.distance == pytest.approx(expected.distance, rel=1e-9)
    np.testing.assert_allclose(
        found.weight_gradient, expected.weight_gradient, rtol=1e-7, atol=1e-7
    )


def test_the_map_takes_the_candidates_to_the_goal() -> None:
    """T S T = S_r, for T of the transport."""
    real, generated = problem(7)
    goal = TargetGaussian.from_moments(Moments.from_samples(real))
    moments = WeightedMoments.from_samples(generated - goal.mean, some_weights(7, len(generated)))
    found = weights_objective.compute_transport(goal, moments)
    linear = found.root @ found.root.T
    np.testing.assert_allclose(
        linear @ moments.covariance() @ linear, np.cov(real.T), rtol=1e-7, atol=1e-8
    )
    x = generated - goal.mean
    y = x - moments.mean
    expected = row_norms(x) ** 2 - np.einsum("ni,ij,nj->n", y, linear, y)
    np.testing.assert_allclose(objective_gradient(x, found), expected, rtol=1e-8, atol=1e-8)


def test_effective_sample_size() -> None:
    assert effective_sample_size(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_sample_size(np.array([0.0, 2.0, 0.0])) == 1
    assert effective_sample_size(np.array([0.75, 0.25])) == pytest.approx(1.6)
