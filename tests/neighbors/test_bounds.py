"""Bounds are bounds, and whatever a product adds within them, the answers are brute force's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from raymetrics.metrics.manifold_survey import ManifoldSurvey, survey_manifolds
from raymetrics.neighbors import TileSearch
from raymetrics.neighbors.exact_distances import euclidean_distances, sum_by_halves
from raymetrics.neighbors.prepared_sets import Frame, Sketcher, error_shares, share_left_open
from raymetrics.neighbors.processors import (
    ROUNDOFF32,
    CpuProcessor,
    TorchProcessor,
    numpy_product,
)
from raymetrics.neighbors.screen import Screen
from tests.helpers.exact_search import ExactSearch
from tests.helpers.neighbor_cases import WORLDS

ROWS = slice(0, 30)


@st.composite
def near_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """x and y, float64 [30, d], of any size, and so near each other that digits cancel."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.sampled_from([1, 2, 7, 64, 500]))
    size = 2.0 ** draw(st.sampled_from([-80, -70, -64, -30, 0, 10, 40]))
    apart = 10.0 ** draw(st.integers(-9, 0))
    x = rng.normal(size=(ROWS.stop, d)) + draw(st.sampled_from([0, 1, 30]))
    x[:, rng.random(d) < 0.3] *= 1e-12  # beside those that are large
    return size * x, size * (x + apart * rng.normal(size=(ROWS.stop, d)))


def exact_values(screen: Screen) -> np.ndarray:
    """-distance^2 / 2 of all pairs, in the units of tiles."""
    y = screen.right.features
    exact = np.array([euclidean_distances(row, y) for row in screen.left.features])
    return -np.square(exact * screen.scale) / 2


PROCESSORS: dict[str, Any] = {
    "float32": CpuProcessor,
    "device, float32": lambda: TorchProcessor("cpu", np.float32),
    "device, float16": lambda: TorchProcessor("cpu", np.float16),
}


@pytest.mark.parametrize("processor", PROCESSORS)
@given(sets=near_pairs())
@settings(deadline=None, max_examples=60)
def test_tiles_bound_distances_from_both_sides(
    processor: str, sets: tuple[np.ndarray, np.ndarray]
) -> None:
    search = TileSearch(PROCESSORS[processor](), part=1)
    screen = Screen(*search.prepare(*sets))
    exact = exact_values(screen)
    with screen.processor.exact_products():
        tile = screen.tile(ROWS, ROWS)
        for bounds in (tile, screen.precise_tile(tile)):
            high = np.asarray(bounds.values).astype(np.float64)
            low = high - 2 * np.add.outer(bounds.row_errors, bounds.column_errors)
            assert (low <= exact).all()
            assert (exact <= high).all()


@pytest.mark.parametrize("part", [2, 16, 100])
@given(sets=near_pairs())
@settings(deadline=None, max_examples=60)
def test_sketches_bound_distances_from_below(
    part: int, sets: tuple[np.ndarray, np.ndarray]
) -> None:
    search = TileSearch(CpuProcessor(), part=part, adaptive=False)
    left, right = search.prepare(*sets)
    screen = Screen(left, right, [left.frame.sketch_width])
    with screen.processor.exact_products():
        tile = screen.tile(ROWS, ROWS, left.frame.sketch_width)
        assert (exact_values(screen) <= tile.values).all()


def test_bounds_are_of_the_order_of_rounding() -> None:
    ones, residuals = np.ones(1), np.full(1, ROUNDOFF32 / 2)
    share = error_shares(ones, residuals, 100, ROUNDOFF32, ROUNDOFF32)
    assert 50 * ROUNDOFF32 < share[0] < 80 * ROUNDOFF32


def test_sketches_in_the_subspace_keep_the_distances(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 40))
    z, errors = Sketcher.fit(x, 3).sketch(x)
    found, expected = (np.array([euclidean_distances(row, a) for row in a]) for a in (z, x))
    assert_allclose(found, expected, atol=1e-5)
    assert (errors < 1e-5 * np.linalg.norm(x, axis=1)).all()


def test_directions_are_orthonormal_and_the_same_every_time(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 40)) * np.arange(40)
    first, second = (Sketcher.fit(x, 5) for _ in range(2))
    assert first.defect < 1e-12
    assert_array_equal(first.directions, second.directions)


def test_a_few_rows_tell_whether_sketches_are_worth_a_try(rng: np.random.Generator) -> None:
    mixing = rng.normal(size=(10, 320))
    search = TileSearch()
    near = rng.normal(size=(600, 10)) @ mixing + 0.01 * rng.normal(size=(600, 320))
    flat = rng.normal(size=(600, 320))
    for features, least, most in ((near, 0.003, 0.02), (flat, 0.9, 1)):
        (prepared,) = search.prepare(features)
        assert least < share_left_open(prepared, prepared) <= most


@pytest.mark.parametrize("directions", [5, 50, 320])
def test_the_effective_dimension_is_that_of_the_variance(
    rng: np.random.Generator, directions: int
) -> None:
    mixing = np.linalg.qr(rng.normal(size=(320, directions)))[0].T
    frame = Frame(rng.normal(size=(4000, directions)) @ mixing + 7, part=16)
    assert 0.9 * directions < frame.effective_dimension < 1.1 * directions


@pytest.mark.parametrize("largest", [2.0**-149, 1e-40, 1e-9, 1.0, 3e3, 3e38])
def test_the_scale_rounds_nothing_and_rows_fit_into_float16(largest: float) -> None:
    x = np.array([[largest, -largest / 3, 2.0**-149, 0], [0, 0, 0, largest]], np.float32)
    frame = Frame(x, part=1)
    assert np.log2(frame.scale) % 1 == 0
    assert_array_equal(frame.move(x) / frame.scale, x.astype(np.float64) - frame.center)
    assert 2**2 < np.linalg.norm(frame.move(x), axis=1).max() <= 2**7


def test_rows_are_centered_in_float64() -> None:
    """Far from the origin nothing is left of them in float32."""
    x = np.array([[1e9 + 1.0], [1e9 + 3.0]])
    frame = Frame(x, part=1)
    assert_array_equal(frame.move(x) / frame.scale, [[-1], [1]])


@pytest.mark.parametrize("columns", [0, 1, 2, 7, 64, 1001])
def test_sums_by_halves(rng: np.random.Generator, columns: int) -> None:
    import torch

    terms = rng.normal(size=(20, columns))
    found = sum_by_halves(terms.copy())
    assert_allclose(found, terms.sum(axis=1), atol=1e-12)
    assert_array_equal(sum_by_halves(torch.from_numpy(terms.copy())).numpy(), found)


def adversary(kind: str, size: float) -> Any:
    """A product that is wrong by `size` times what is granted to products.

    kind: the error makes pairs "nearer", "further", or has "random" signs.
    """
    rng = np.random.default_rng(0)

    def product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
        numpy_product(left, right, out)
        shares = []
        for side in (left, right):
            norms = np.linalg.norm(side.astype(np.float64), axis=1)
            residuals = norms * ROUNDOFF32 / 2
            granted = error_shares(norms, residuals, side.shape[1], ROUNDOFF32, ROUNDOFF32)
            shares.append(granted - 4 * ROUNDOFF32 * np.square(norms))  # for all other rounding
        signs = {"nearer": 1, "further": -1}.get(kind, rng.choice([-1, 1], size=out.shape))
        out += (size * signs * np.add.outer(*shares)).astype(np.float32)

    return product


def survey(name: str, search: Any) -> ManifoldSurvey:
    real, generated = WORLDS[name](np.random.default_rng(7))
    return survey_manifolds(
        real=real, generated=generated, ks=[1, 3, 5], search=search, realism=True
    )


def count_differences(found: ManifoldSurvey, truth: ManifoldSurvey) -> int:
    """Count the numbers in which two surveys differ."""
    pairs = [(found.real_radii, truth.real_radii), (found.generated_radii, truth.generated_radii)]
    for name in ("generated_in_real", "real_in_generated"):
        one, other = getattr(found, name), getattr(truth, name)
        pairs += [(one.hits, other.hits), (one.occupancy, other.occupancy)]
        pairs += [(one.realism, other.realism)]
    return sum(int((a != b).sum()) for a, b in pairs)


HARD = ["gaussian 64 0 float64", "gaussian 8 30 float32", "lattice", "duplicates", "outlier"]


@pytest.mark.parametrize("kind", ["nearer", "further", "random"])
@pytest.mark.parametrize("name", HARD)
def test_no_error_within_the_bound_changes_an_answer(name: str, kind: str) -> None:
    search = TileSearch(CpuProcessor(adversary(kind, 0.95)), part=1)
    assert count_differences(survey(name, search), survey(name, ExactSearch())) == 0


def test_an_error_beyond_the_bound_changes_some() -> None:
    """So that the bound is not so wide that the test above shows nothing."""
    wrong = 0
    for name in HARD:
        search = TileSearch(CpuProcessor(adversary("further", 1.2)), part=1)
        wrong += count_differences(survey(name, search), survey(name, ExactSearch()))
    assert wrong > 0
