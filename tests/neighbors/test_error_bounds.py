"""Bounds are bounds, and whatever the bounds are, the answers are those of brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from raymetrics.neighbors import error_bounds
from raymetrics.neighbors.brute_force import euclidean_distances, radius_ratios
from raymetrics.neighbors.error_bounds import (
    ROUNDOFF32,
    ROUNDOFF64,
    BoundedCandidates,
    squared_error_bound,
)
from raymetrics.neighbors.faiss_engines import Float32Bounds
from raymetrics.neighbors.projections import (
    FullSketch,
    LowerBoundSketch,
    joint_mean,
    leading_directions,
    scale_radii,
    squared_norms,
    unit_scale,
)

ROWS = 30


@st.composite
def near_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float64 [ROWS, d], of any size, and so near each other that digits cancel."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.sampled_from([1, 2, 7, 64, 500]))
    size = 2.0 ** draw(st.sampled_from([-80, -70, -64, -30, 0, 10, 40]))
    apart = 10.0 ** draw(st.integers(-9, 0))
    x = rng.normal(size=(ROWS, d)) + draw(st.sampled_from([0, 1, 30]))
    x[:, rng.random(d) < 0.3] *= 1e-12  # beside those that are large
    return size * x, size * (x + apart * rng.normal(size=(ROWS, d)))


def expanded(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|x|^2 + |y|^2 - 2 x.y in the type of x; and the sums of the squared norms, float64."""
    with np.errstate(under="ignore"):
        norms = [np.einsum("nd,nd->n", a, a) for a in (x, y)]
        found = norms[0][:, None] + norms[1] - 2 * (x @ y.T)
    assert found.dtype == x.dtype
    return found.astype(np.float64), squared_norms(x)[:, None] + squared_norms(y)


@given(near_pairs())
@settings(deadline=None, max_examples=100)
def test_float32_products_are_not_more_wrong_than_the_bound(
    sets: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = sets
    exact = np.array([euclidean_distances(row, y) for row in x]) ** 2
    found, norms = expanded(x.astype(np.float32), y.astype(np.float32))
    assert (np.abs(found - exact) <= squared_error_bound(x.shape[1], norms)).all()


@given(near_pairs())
@settings(deadline=None, max_examples=100)
def test_float64_products_are_not_more_wrong_than_the_bound(
    sets: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = sets
    exact = np.array([euclidean_distances(row, y) for row in x]) ** 2
    found, norms = expanded(x, y)
    assert (np.abs(found - exact) <= squared_error_bound(x.shape[1], norms, ROUNDOFF64)).all()


def test_the_bound_is_of_the_order_of_rounding() -> None:
    assert squared_error_bound(100, np.ones(1)) < 1e3 * ROUNDOFF32


@given(near_pairs(), st.sampled_from([1, 4, 64]))
@settings(deadline=None, max_examples=100)
def test_lower_bounds_never_exceed_the_distance(
    sets: tuple[np.ndarray, np.ndarray], dimensions: int
) -> None:
    x, y = sets
    centre = joint_mean(x, y)
    directions = leading_directions(np.concatenate([x, y]), centre, min(dimensions, x.shape[1]))
    sketch = LowerBoundSketch(centre, directions)
    below, norms = expanded(sketch(x).astype(np.float64), sketch(y).astype(np.float64))
    exact = np.array([euclidean_distances(row, y) for row in x]) ** 2
    assert (below - squared_error_bound(directions.shape[1] + 1, norms) <= exact).all()


def test_lower_bounds_of_what_lies_in_the_subspace_are_the_distances(
    rng: np.random.Generator,
) -> None:
    x = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 40))
    sketch = LowerBoundSketch(np.zeros(40), leading_directions(x, np.zeros(40), 3))
    found = np.array([euclidean_distances(row, sketch(x)) for row in sketch(x).astype(np.float64)])
    np.testing.assert_allclose(found, [euclidean_distances(row, x) for row in x], atol=1e-5)


def test_directions_are_orthonormal_and_the_same_every_time(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 40)) * np.arange(40)
    found = leading_directions(x, x.mean(axis=0), 5)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-12)
    assert_array_equal(found, leading_directions(x, x.mean(axis=0), 5))


@given(near_pairs(), st.sampled_from([np.float32, np.float64]))
@settings(deadline=None, max_examples=100)
def test_rough_distances_lie_between_their_bounds(
    sets: tuple[np.ndarray, np.ndarray], dtype: type
) -> None:
    x, y = (features.astype(dtype) for features in sets)
    ids = np.tile(np.arange(len(y)), (len(x), 1))
    ids[:, 3] = -1
    low, high = Float32Bounds(x, y).bounds(x, ids)
    exact = np.array([euclidean_distances(row, y) for row in x])
    exact[:, 3] = np.inf
    assert (low <= exact).all()
    assert (exact <= high).all()


@given(
    st.sampled_from([2.0**-149, 1e-40, 1e-30, 1e-9, 1.0, 3e3, 1e9, 3e38]),
    st.sampled_from([np.float32, np.float64]),
)
@settings(deadline=None)
def test_the_unit_scale_rounds_nothing(largest: float, dtype: type) -> None:
    x = np.array([[largest, -largest / 3, 2.0**-149, 0]], dtype)
    scale = unit_scale(x)
    assert np.log2(scale) % 1 == 0
    assert_array_equal((x * scale).astype(np.float64) / scale, x)
    if scale != 1:
        assert 1 <= np.abs(x * scale).max() < 2


def test_no_scale_makes_a_ball_empty_or_fills_one() -> None:
    radii = np.array([np.nextafter(0.0, -1), -1, 0, 3])
    for scale in (2.0**-60, 1.0, 2.0**60):
        scaled = scale_radii(radii, scale)
        assert_array_equal(scaled < 0, [True, True, False, False])
        assert_array_equal(scaled[2:], [0, 3 * scale])


def test_all_coordinates_are_centred_in_float64() -> None:
    """Far from the origin nothing is left of them in float32."""
    x = np.array([[1e9 + 1.0], [1e9 + 3.0]])
    assert_array_equal(FullSketch(joint_mean(x))(x), [[-1], [1]])


@st.composite
def bounded(draw: st.DrawFn) -> tuple[BoundedCandidates, np.ndarray]:
    """Candidates with some bounds or other; and the distances, infinite of those that are none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    b, c, m = draw(st.integers(1, 6)), draw(st.integers(1, 9)), draw(st.integers(9, 12))
    queries, base = (rng.integers(0, 3, size=(n, 2)).astype(np.float64) for n in (b, m))
    ids = np.array([rng.permutation(m)[:c] for _ in range(b)])
    exact = np.take_along_axis(
        np.array([euclidean_distances(q, base) for q in queries]), ids, axis=1
    )
    low = exact - rng.choice([0, 0.1, 1, 9], size=exact.shape)
    high = exact + rng.choice([0, 0.1, 1, np.inf], size=exact.shape)
    none = rng.random(size=exact.shape) < 0.2
    ids[none] = -1
    low[none] = high[none] = exact[none] = np.inf
    return BoundedCandidates(queries, base, ids, low.clip(min=0), high), exact


@given(bounded(), st.integers(1, 10))
@settings(deadline=None)
def test_the_nearest_whatever_the_bounds(
    case: tuple[BoundedCandidates, np.ndarray], k: int
) -> None:
    found, exact = case
    expected = np.full((len(exact), 10), np.inf)
    expected[:, : exact.shape[1]] = np.sort(exact, axis=1)
    assert_array_equal(error_bounds.nearest_distances(found, k), expected[:, :k])


@given(bounded(), st.integers(0, 99))
@settings(deadline=None)
def test_balls_and_realism_whatever_the_bounds(
    case: tuple[BoundedCandidates, np.ndarray], seed: int
) -> None:
    """Radii and distances are roots of small integers, so that many points are on surfaces."""
    found, exact = case
    squares = np.random.default_rng(seed).integers(-1, 6, size=(len(found.base), 3))
    radii = np.sort(np.where(squares < 0, -1, np.sqrt(squares.clip(min=0))), axis=1)
    there = found.ids >= 0
    expected = (exact[..., None] <= radii[found.ids]) & there[..., None]
    assert_array_equal(error_bounds.inside_balls(found, radii), expected)
    for k in range(3):
        best = np.where(there, radius_ratios(radii[found.ids, k], exact), 0).max(axis=1)
        assert_array_equal(error_bounds.largest_ratios(found, radii[:, k]), best)


def test_what_the_bounds_decide_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        error_bounds,
        "pair_distances",
        lambda q, b, rows, ids: asked.extend(ids) or np.zeros(len(ids)),
    )
    low, high = np.array([[0.0, 2, 4, np.inf]]), np.array([[1.0, 3, 5, np.inf]])
    found = BoundedCandidates(
        np.zeros((1, 1)), np.zeros((3, 1)), np.array([[0, 1, 2, -1]]), low, high
    )
    error_bounds.inside_balls(found, np.array([[1.0], [2.5], [3]]))
    assert asked == [1]
    asked.clear()
    error_bounds.nearest_distances(found, 2)
    assert asked == [0, 1]


def test_ratios_at_the_centre_and_of_no_ball() -> None:
    radii, apart = np.array([0.0, 1, 0, 1, -1, -1]), np.array([0.0, 0, 2, 2, 2, 0])
    assert_array_equal(radius_ratios(radii, apart), [np.inf, np.inf, 0, 0.5, 0, 0])
