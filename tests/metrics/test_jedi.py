"""JEDi: the means of its kernels, as the authors' program forms them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

import raymetrics as rm
from raymetrics.errors import NotEnoughData
from raymetrics.metrics import jedi
from raymetrics.statistics import Moments


def of_kernels(x: np.ndarray, y: np.ndarray) -> float:
    """100 MMD^2 with (x.y / d)^2, each mean over all pairs."""
    pairs = ((x, x), (y, y), (x, y))
    within_x, within_y, across = (
        polynomial_kernel(a, b, degree=2, coef0=0).mean() for a, b in pairs
    )
    return float(100 * (within_x + within_y - 2 * across))


def test_the_means_of_all_kernels(rng: np.random.Generator) -> None:
    real, generated = rng.normal(1, 1, size=(60, 9)), rng.normal(1.2, 1.5, size=(45, 9))
    expected = of_kernels(real, generated)
    assert rm.in_memory.jedi(real=real, generated=generated) == pytest.approx(expected, rel=1e-10)
    assert rm.in_memory.jedi(real=real, generated=real[::-1]) == pytest.approx(0, abs=1e-12)


def test_parts_that_are_merged_give_the_same(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(50, 6)), rng.normal(0.4, 2, size=(40, 6))
    whole = Moments.from_samples(generated)
    parts = Moments.from_samples(generated[:13]).merge(Moments.from_samples(generated[13:]))
    fixed = Moments.from_samples(real)
    assert jedi(real=fixed, generated=parts) == pytest.approx(
        jedi(real=fixed, generated=whole), rel=1e-12
    )


def test_two_points_have_a_closed_form() -> None:
    """(a^2 - b^2)^2 for x = a and y = b in one dimension."""
    assert rm.in_memory.jedi(real=np.array([[3.0]]), generated=np.array([[1.0]])) == 6400


def test_an_empty_side_has_no_distance() -> None:
    some = Moments.from_samples(np.ones((2, 3)))
    with pytest.raises(NotEnoughData, match="2 real and 0 generated"):
        jedi(real=some, generated=Moments.empty(3))
