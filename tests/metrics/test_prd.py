"""PRD: the formula slope by slope, and what the curve says of sets that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import PRDCurve, curve_of_histograms, f_beta, prd_curve, prd_scores


def clumps(rng: np.random.Generator, modes: list[int], count: int = 300) -> np.ndarray:
    """Samples in some of many clumps that are far apart."""
    centres = np.random.default_rng(3).normal(0, 50, size=(10, 4))
    return (centres[rng.choice(modes, count)] + rng.normal(size=(count, 4))).astype(np.float32)


def test_slope_by_slope(rng: np.random.Generator) -> None:
    p, q = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6))
    curve = curve_of_histograms(p, q, angles=11)
    for i in range(11):
        slope = math.tan(1e-10 + i * (math.pi / 2 - 2e-10) / 10)
        precision = sum(min(slope * a, b) for a, b in zip(p, q, strict=True))
        # Towards the vertical one rounding of the angle is 1e-6 of the slope.
        assert curve.precision[i] == pytest.approx(precision, rel=1e-5)
        assert curve.recall[i] == pytest.approx(precision / slope, rel=1e-5)


def test_f_beta_on_one_point() -> None:
    curve = PRDCurve(np.array([0.5]), np.array([0.25]))
    assert f_beta(curve, 2) == pytest.approx(5 * 0.125 / (4 * 0.5 + 0.25), rel=1e-9)
    assert f_beta(PRDCurve(np.zeros(3), np.zeros(3)), 8) == 0


def test_equal_sets_are_perfect(rng: np.random.Generator) -> None:
    features = clumps(rng, list(range(10)))
    assert prd_scores(prd_curve(real=features, generated=features, runs=2)) == pytest.approx((1, 1))


def test_disjoint_sets_share_nothing(rng: np.random.Generator) -> None:
    curve = prd_curve(real=clumps(rng, [0, 1]), generated=clumps(rng, [2, 3]), clusters=4, runs=2)
    assert prd_scores(curve) == (0, 0)


def test_a_collapsed_generator_is_precise_and_recalls_little(rng: np.random.Generator) -> None:
    everything, half = clumps(rng, list(range(10))), clumps(rng, [0, 1, 2])
    collapsed = prd_scores(prd_curve(real=everything, generated=half, clusters=10, runs=3))
    assert collapsed.f_8 < 0.5 < 0.85 < collapsed.f_1_8
    inventive = prd_scores(prd_curve(real=half, generated=everything, clusters=10, runs=3))
    assert inventive.f_1_8 < 0.5 < 0.85 < inventive.f_8


def test_seeded_and_averaged_over_runs(rng: np.random.Generator) -> None:
    sides = {"real": rng.normal(size=(200, 3)), "generated": rng.normal(0.5, 1, size=(200, 3))}
    first = prd_curve(**sides, runs=2, seed=4)
    np.testing.assert_array_equal(first, prd_curve(**sides, runs=2, seed=4))
    single = [prd_curve(**sides, runs=1, seed=seed) for seed in (4, 5)]
    np.testing.assert_allclose(first, np.mean(single, axis=0), rtol=1e-14)
    assert (np.diff(first.precision) >= 0).all()
    assert (np.diff(first.recall) <= 1e-15).all()


def test_sides_that_do_not_fit_are_an_error_not_a_number(rng: np.random.Generator) -> None:
    features = rng.normal(size=(30, 3))
    with pytest.raises(NotEnoughData, match=r"30 real and 25 generated.*take 25 of each"):
        prd_curve(real=features, generated=features[:25])
    with pytest.raises(NotEnoughData, match=r"20 clusters of 15 samples.*fewer clusters"):
        prd_curve(real=features[:15], generated=features[:15])
