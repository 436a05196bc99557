"""Closest points of hyperellipsoids, against an optimiser that knows nothing of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from raymetrics.generators.latents.ellipsoid import closest_points

SIZES = st.floats(0.05, 5)
NUMBERS = st.floats(-1, 1)


def ellipsoids() -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Axes, and a direction in which to leave the ellipsoid."""
    return st.integers(1, 4).flatmap(
        lambda d: st.tuples(
            st.lists(SIZES, min_size=d, max_size=d).map(np.array),
            st.lists(NUMBERS, min_size=d, max_size=d)
            .filter(lambda x: max(map(abs, x)) > 1e-3)
            .map(np.array),
        )
    )


def on_surface(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return ((x / axes) ** 2).sum(axis=-1)


def closest_by_search(y: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Of the whole body, which is convex, so that there is one minimum."""
    start = y / np.sqrt(on_surface(y, axes))
    inside = {
        "type": "ineq",
        "fun": lambda x: 1 - on_surface(x, axes),
        "jac": lambda x: -2 * x / axes**2,
    }
    optimum = minimize(
        lambda x: ((x - y) ** 2).sum(), start, jac=lambda x: 2 * (x - y), method="SLSQP",
        constraints=inside, options={"ftol": 1e-15, "maxiter": 500},
    )  # fmt: skip
    return optimum.x / np.sqrt(max(1.0, on_surface(optimum.x, axes)))  # it may end just outside


@settings(max_examples=60)
@given(ellipsoids(), st.floats(1.001, 30))
def test_an_optimiser_finds_the_same_point(
    ellipsoid: tuple[np.ndarray, np.ndarray], factor: float
) -> None:
    axes, direction = ellipsoid
    y = factor * direction / np.sqrt(on_surface(direction, axes))
    x = closest_points(y[None], axes)[0]
    np.testing.assert_allclose(on_surface(x, axes), 1, rtol=1e-12)
    expected = closest_by_search(y, axes)
    # What the optimiser finds may lie a little inside, and its minimum is flat.
    assert np.linalg.norm(x - y) <= np.linalg.norm(expected - y) + 1e-7 * (1 + np.linalg.norm(y))
    np.testing.assert_allclose(x, expected, atol=1e-3 * axes.max())


def test_a_ball() -> None:
    y = np.random.default_rng(0).normal(size=(50, 7)) * 10
    expected = 2 * y / np.linalg.norm(y, axis=1, keepdims=True)
    np.testing.assert_allclose(closest_points(y, np.full(7, 2.0)), expected, rtol=1e-12)


def test_flat_ellipsoids_in_many_dimensions() -> None:
    """Axes over five decades; points far, near, and in planes of symmetry."""
    rng = np.random.default_rng(1)
    axes = 10.0 ** rng.uniform(-5, 0, 512)
    y = rng.normal(size=(60, 512)) * 10.0 ** rng.uniform(-4, 3, (60, 1))
    y[::3, rng.permutation(512)[:256]] = 0
    y[::4] *= 1.000001 / np.sqrt(on_surface(y[::4], axes))[:, None]
    assert (on_surface(y, axes) > 1).all()
    x = closest_points(y, axes)
    np.testing.assert_allclose(on_surface(x, axes), 1, rtol=1e-9)
    # The way to y is along the normal, with one factor t > 0 (Eberly 2011): y - x = t x / a^2.
    normal = x / axes**2
    t = np.linalg.norm(y - x, axis=1, keepdims=True) / np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(x + t * normal, y, rtol=1e-5, atol=1e-9)


def test_each_point_by_itself() -> None:
    rng = np.random.default_rng(2)
    axes, y = rng.uniform(0.1, 1, 9), rng.normal(size=(40, 9)) * rng.uniform(3, 1e4, (40, 1))
    together = closest_points(y, axes)
    for i in (0, 17, 39):
        np.testing.assert_array_equal(closest_points(y[i : i + 1], axes)[0], together[i])
