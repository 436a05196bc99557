"""Draws by weights: counts, their means and deviations, and weights that are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymetrics.attacks import SAMPLING_SCHEMES, draw_by_weight
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError

WEIGHTS = st.lists(st.floats(0, 1e6) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=40).filter(
    lambda weights: max(weights) > 1e-300
)


@given(WEIGHTS, st.integers(1, 300), st.integers(0, 2**32), st.sampled_from(SAMPLING_SCHEMES))
@settings(deadline=None)
def test_any_draw(weights: list[float], n: int, seed: int, scheme: str) -> None:
    found = draw_by_weight(np.array(weights), n, seed, scheme)
    assert found.dtype == np.int64
    assert found.shape == (n,)
    assert (np.diff(found) >= 0).all()
    counts = np.bincount(found, minlength=len(weights))
    assert len(counts) == len(weights)
    assert not counts[np.array(weights) == 0].any()
    np.testing.assert_array_equal(found, draw_by_weight(np.array(weights), n, seed, scheme))
    if scheme == "systematic":
        expected = n * np.array(weights) / np.sum(weights)
        assert (counts >= np.floor(expected - 1e-9)).all()
        assert (counts <= np.ceil(expected + 1e-9)).all()


def counts_of(scheme: str, weights: np.ndarray, n: int, draws: int) -> np.ndarray:
    found = [draw_by_weight(weights, n, seed, scheme) for seed in range(draws)]
    return np.array([np.bincount(x, minlength=len(weights)) for x in found])


@pytest.mark.parametrize("scheme", SAMPLING_SCHEMES)
def test_n_p_times_on_average(rng: np.random.Generator, scheme: str) -> None:
    weights = rng.gamma(0.5, size=30)
    share = weights / weights.sum()
    counts = counts_of(scheme, weights, 50, 2000)
    error = np.sqrt(50 * share * (1 - share) / 2000)
    assert (np.abs(counts.mean(axis=0) - 50 * share) < 5 * error + 1e-12).all()


def test_deviations(rng: np.random.Generator) -> None:
    """Multinomial: n p (1 - p). Systematic: of the fraction of n p alone, f (1 - f)."""
    weights = rng.gamma(0.5, size=30)
    share = weights / weights.sum()
    fraction = 50 * share % 1
    for scheme, expected in (
        ("multinomial", 50 * share * (1 - share)),
        ("systematic", fraction * (1 - fraction)),
    ):
        variance = counts_of(scheme, weights, 50, 4000).var(axis=0)
        np.testing.assert_allclose(variance, expected, rtol=0.2, atol=0.02)


def test_seeds_differ() -> None:
    weights = np.ones(1000)
    for scheme in SAMPLING_SCHEMES:
        assert (
            draw_by_weight(weights, 100, 0, scheme) != draw_by_weight(weights, 100, 1, scheme)
        ).any()


def test_as_many_as_there_are_of_equal_weights_is_all_of_them() -> None:
    np.testing.assert_array_equal(
        draw_by_weight(np.full(999, 0.1), 999, 3, "systematic"), np.arange(999)
    )


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0, np.nan], ShardError, "1 of 2 weights .* position 1"),
        ([-1.0, 2.0], ShardError, "position 0"),
        ([1.0, np.inf], ShardError, "infinite"),
        ([0.0, 0.0], NotEnoughData, "2 candidates, and none"),
        ([], NotEnoughData, "0 candidates"),
    ],
)
def test_weights_that_are_none(
    weights: list[float], error: type[RaymetricsError], message: str
) -> None:
    for scheme in SAMPLING_SCHEMES:
        with pytest.raises(error, match=message):
            draw_by_weight(np.array(weights), 5, 0, scheme)


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(NotEnoughData, match="a draw of 0"):
        draw_by_weight(np.ones(3), 0, 0)
    with pytest.raises(RaymetricsError, match="'residual'.*multinomial, systematic"):
        draw_by_weight(np.ones(3), 1, 0, "residual")
