"""Truncation strategies as functions of latents: closed forms, distributions, laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm, truncnorm

from raymetrics.errors import SourceError
from raymetrics.generators.latents import strategies
from raymetrics.generators.latents.random_streams import Purpose, sample_stream, uniforms
from raymetrics.generators.latents.rejection import MAX_CANDIDATES, first_accepted
from raymetrics.generators.latents.w_distribution import Distribution

MIXING = np.array([[2, 0.3, 0], [0, 0.7, -0.2], [0.1, 0, 0.05]])
MEAN = np.array([3, -1, 0.5])


def gaussian(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 3)) @ MIXING.T + MEAN).astype(np.float32)


@pytest.fixture(scope="module")
def distribution() -> Distribution:
    return Distribution.from_samples(gaussian(0, 10_000), gaussian(20, 10_000))


def within(share: float, expected: float, n: int) -> bool:
    """Four standard errors of a share of n, and of the threshold's 10,000."""
    return abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) * (1 / n + 1e-4))


def test_a_gaussian_is_known_by_its_moments(distribution: Distribution) -> None:
    np.testing.assert_allclose(distribution.mean, MEAN, atol=0.1)
    covariance = distribution.axes * distribution.deviations**2 @ distribution.axes.T
    np.testing.assert_allclose(covariance, MIXING @ MIXING.T, atol=0.2)
    for share in (0.1, 0.5, 0.9):
        expected = math.sqrt(chi2.ppf(share, df=3))
        assert abs(distribution.mahalanobis_quantile(share) / expected - 1) < 0.05
    w = gaussian(1, 5)
    np.testing.assert_allclose(
        distribution.from_axis_coordinates(distribution.axis_coordinates(w)), w, rtol=1e-12
    )


def test_a_flat_direction_has_no_outliers() -> None:
    """The last bit of float32 is no distance."""
    flat = gaussian(2, 2000)
    flat[:, 2] = flat[:, 0]
    distribution, nearly = Distribution.from_samples(flat, flat), flat.copy()
    nearly[:, 2] = np.nextafter(flat[:, 2], np.inf, dtype=np.float32)
    before, after = distribution.mahalanobis(flat), distribution.mahalanobis(nearly)
    np.testing.assert_allclose(after, before, atol=0.05)


@pytest.mark.parametrize("accepts", [strategies.within_distance, strategies.within_density])
def test_kept_by_distance_and_by_density(
    accepts: Callable[..., np.ndarray], distribution: Distribution
) -> None:
    w = gaussian(3, 4000)
    before = np.zeros(4000, np.bool_)
    for amount in (0, 0.05, 0.5, 0.9, 1):
        now = accepts(w, distribution, amount)
        assert within(now.mean(), amount, 4000) or now.mean() == amount
        assert not (before & ~now).any()
        before = now


def test_distance_and_density_are_those_of_their_definitions(distribution: Distribution) -> None:
    w = gaussian(4, 100)
    centred = w - distribution.mean
    np.testing.assert_allclose(distribution.distance(w), np.sqrt((centred**2).sum(axis=1)))
    inverse = np.linalg.inv(np.cov(gaussian(0, 10_000).astype(np.float64).T))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    np.testing.assert_allclose(distribution.mahalanobis(w), expected, rtol=1e-6)


def test_clamped_are_the_outliers_alone_and_to_the_boundary(distribution: Distribution) -> None:
    w = gaussian(5, 2000)
    for amount in (0.01, 0.3, 0.9):
        out = ~strategies.within_density(w, distribution, amount)
        clamped = strategies.clamp(w, distribution, amount)
        assert clamped.dtype == np.float32
        np.testing.assert_array_equal(clamped[~out], w[~out])
        radius = distribution.mahalanobis_quantile(amount)
        np.testing.assert_allclose(distribution.mahalanobis(clamped[out]), radius, rtol=1e-4)
        assert within(out.mean(), 1 - amount, 2000)
        again = strategies.clamp(clamped, distribution, amount)
        np.testing.assert_allclose(again, clamped, rtol=1e-6, atol=1e-6)
        for i in np.flatnonzero(out)[:3]:
            alone = strategies.clamp(w[i : i + 1], distribution, amount)
            np.testing.assert_array_equal(alone[0], clamped[i])


def test_clamping_moves_less_than_going_towards_the_mean(distribution: Distribution) -> None:
    """The closest point of the boundary is closer than where the way to the mean meets it."""
    w = gaussian(6, 2000)
    out = w[~strategies.within_density(w, distribution, 0.5)]
    shrunk = distribution.mahalanobis_quantile(0.5) / distribution.mahalanobis(out)[:, None]
    on_the_way = distribution.mean + shrunk * (out - distribution.mean)
    moved = np.linalg.norm(strategies.clamp(out, distribution, 0.5) - out, axis=1)
    assert (moved <= np.linalg.norm(on_the_way - out, axis=1) + 1e-5).all()
    assert moved.mean() < 0.8 * np.linalg.norm(on_the_way - out, axis=1).mean()


def test_the_ends_are_exact(distribution: Distribution) -> None:
    w, drawn = gaussian(7, 50), np.random.default_rng(8).random(50)
    ways = [
        lambda amount: strategies.clamp(w, distribution, amount),
        lambda amount: strategies.interpolate(w, distribution.mean, amount),
        lambda amount: strategies.replace(w, distribution.mean, drawn, amount),
    ]
    for way in ways:
        np.testing.assert_array_equal(way(1), w)
        np.testing.assert_array_equal(
            way(0), np.tile(distribution.mean.astype(np.float32), (50, 1))
        )
    z = np.random.default_rng(9).normal(size=(50, 4)).astype(np.float32)
    for end in (
        lambda amount: strategies.interpolate(z, 0, amount),
        lambda amount: strategies.truncate_axes(z, np.full((50, 4), 0.3), amount),
        # A threshold beyond every coordinate truncates nothing.
        lambda amount: strategies.truncate_axes_at(z, np.full((50, 4), 0.3), 10 * amount),
    ):
        np.testing.assert_array_equal(end(1), z)
        np.testing.assert_array_equal(end(0), np.zeros((50, 4)))


def test_axes_are_truncated_normals() -> None:
    ids = np.arange(1500)
    z = np.stack([np.random.RandomState(k).randn(4) for k in ids]).astype(np.float32)
    drawn = uniforms(ids, Purpose.TRUNCATED_NORMALS, 4)
    for amount in (0.1, 0.8):
        limit = truncnorm(-np.inf, np.inf).ppf((1 + amount) / 2)
        truncated = strategies.truncate_axes(z, drawn, amount)
        stays = np.abs(z) <= limit
        np.testing.assert_array_equal(truncated[stays], z[stays])
        assert np.abs(truncated).max() <= np.float32(limit)
        for values in (truncated, truncated[~stays]):
            assert kstest(values.ravel(), truncnorm(-limit, limit).cdf).pvalue > 1e-3


@pytest.mark.parametrize("threshold", [0.01, 0.3, 1, 1.5])
def test_thresholds_of_z_give_truncated_normals(threshold: float) -> None:
    ids = np.arange(1500)
    z = np.stack([np.random.RandomState(k).randn(4) for k in ids]).astype(np.float32)
    drawn = uniforms(ids, Purpose.TRUNCATED_NORMALS, 4)
    truncated = strategies.truncate_axes_at(z, drawn, threshold)
    stays = np.abs(z) <= threshold
    np.testing.assert_array_equal(truncated[stays], z[stays])
    assert np.abs(truncated).max() <= np.float32(threshold)
    for values in (truncated, truncated[~stays]):
        assert kstest(values.ravel(), truncnorm(-threshold, threshold).cdf).pvalue > 1e-3
    # Strategy F by its threshold: 1.5 is the central 0.866 of a normal.
    share = 2 * norm.cdf(threshold) - 1
    as_share = strategies.truncate_axes(z, drawn, share)
    np.testing.assert_allclose(as_share, truncated, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("psi", [0.3, 1])
def test_scaled_truncated_normals_are_those_of_biggan_s_module(psi: float) -> None:
    ids = np.arange(1500)
    z = np.stack([np.random.RandomState(k).randn(4) for k in ids]).astype(np.float32)
    scaled = strategies.scale_truncated_axes(z, uniforms(ids, Purpose.TRUNCATED_NORMALS, 4), psi)
    assert kstest(scaled.ravel(), truncnorm(-2, 2, scale=psi).cdf).pvalue > 1e-3
    assert kstest(scaled.ravel(), truncnorm(-2 * psi, 2 * psi).cdf).pvalue < 1e-3 or psi == 1
    stays = np.abs(z) <= 2
    np.testing.assert_allclose(scaled[stays], psi * z[stays], rtol=1e-6)


def test_replaced_are_fewer_with_a_larger_amount() -> None:
    w, mean = gaussian(10, 4000), np.zeros(3)
    drawn = uniforms(np.arange(4000), Purpose.REPLACEMENT, 1)[:, 0]
    before = np.zeros(4000, np.bool_)
    for amount in (0.1, 0.5, 0.9):
        stays = (strategies.replace(w, mean, drawn, amount) == w).all(axis=1)
        assert within(stays.mean(), amount, 4000)
        assert not (before & ~stays).any()
        before = stays


def test_streams_are_their_sample_s_and_purpose_s() -> None:
    seen = {sample_stream(k, purpose).random_sample() for k in (0, 1, 2**40) for purpose in Purpose}
    assert len(seen) == 3 * len(Purpose)
    ids = np.array([5, 2, 9])
    together = uniforms(ids, Purpose.REPLACEMENT, 3)
    np.testing.assert_array_equal(uniforms(ids[1:2], Purpose.REPLACEMENT, 3)[0], together[1])


def numbered(rows: np.ndarray, first: int, count: int) -> np.ndarray:
    """Candidate c of row r is the number 1000 r + c."""
    return (1000 * rows[:, None] + first + np.arange(count))[:, :, None].astype(np.float32)


def test_the_first_that_is_accepted_is_taken() -> None:
    """In row r none before candidate r is fine, and all that come after are."""
    start = numbered(np.arange(40), 0, 1)[:, 0]
    actual = first_accepted(start, lambda w: w[:, 0] % 1000 >= w[:, 0] // 1000, numbered)
    np.testing.assert_array_equal(actual[:, 0], 1001 * np.arange(40))


def test_nothing_to_accept() -> None:
    with pytest.raises(
        SourceError, match=f"none of {MAX_CANDIDATES} latents .* truncate less, .* clamp"
    ):
        first_accepted(np.zeros((2, 1), np.float32), lambda w: w[:, 0] > 1e9, numbered)
