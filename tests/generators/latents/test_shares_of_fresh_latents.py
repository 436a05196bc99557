"""The share of fresh latents within a threshold, in as many dimensions as StyleGAN's W has."""

from __future__ import annotations

import math
from pathlib import Path

import latent_sources  # as a user's module
import numpy as np
import pytest
import torch
from scipy.stats import f

from raymetrics.generators import LatentGenerator, open_source
from raymetrics.generators.latents import strategies, w_estimation
from raymetrics.generators.latents.w_distribution import Distribution
from raymetrics.generators.latents.w_estimation import DistributionCache, estimation_settings

DRAWS, FRESH = 10_000, 1500
SHARES = (0.2, 0.5, 0.8)


def draw_w(seed: int, count: int, d: int, skewed: bool) -> np.ndarray:
    """Draw a Gaussian w, or the same after a leaky ReLU."""
    mixing = np.random.default_rng(d).normal(size=(d, d)) / math.sqrt(d)
    x = np.random.default_rng(seed).normal(size=(count, d)) @ mixing + 0.3
    return (np.where(x > 0, x, 0.2 * x) if skewed else x).astype(np.float32)


def share_below(squared: float, n: int, d: int) -> float:
    """Return the share of new Gaussian samples below a squared Mahalanobis distance to n others.

    n (n - d) / (d (n - 1) (n + 1)) times the distance is F(d, n - d) (Hotelling 1931).
    """
    return f.cdf(squared * n * (n - d) / (d * (n - 1) * (n + 1)), d, n - d)


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("d", [20, 512])
def test_fresh_latents_keep_the_share(d: int, skewed: bool) -> None:
    distribution = Distribution.from_samples(
        draw_w(1, DRAWS, d, skewed), draw_w(2, DRAWS, d, skewed)
    )
    fresh = draw_w(3, FRESH, d, skewed)
    distances, densities = distribution.distance(fresh), distribution.mahalanobis(fresh)
    for share in SHARES:
        error = 4 * math.sqrt(share * (1 - share) * (1 / DRAWS + 1 / FRESH))
        assert abs((distances <= distribution.distance_quantile(share)).mean() - share) < error
        assert abs((densities <= distribution.mahalanobis_quantile(share)).mean() - share) < error
        if not skewed:
            # Other moments change the share about as much as other thresholds do.
            below = share_below(distribution.mahalanobis_quantile(share) ** 2, DRAWS, d)
            assert abs(below - share) < 4 * math.sqrt(2 * share * (1 - share) / DRAWS)
    clamped = strategies.clamp(fresh[:200], distribution, 0.5)
    moved = (clamped != fresh[:200]).any(axis=1)
    np.testing.assert_array_equal(moved, densities[:200] > distribution.mahalanobis_quantile(0.5))


def test_thresholds_of_the_samples_that_gave_the_moments_keep_too_few() -> None:
    w, fresh = draw_w(1, DRAWS, 512, False), draw_w(3, 300, 512, False)
    distribution = Distribution.from_samples(w, w)
    near = distribution.mahalanobis(fresh) <= distribution.mahalanobis_quantile(0.5)
    assert near.mean() < 0.3


def test_a_generator_s_thresholds_are_of_draws_held_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From few draws in many dimensions, the draws of the moments would have far smaller ones."""
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(w_estimation, "DRAWS", 1000)
    generator = open_source("latent_sources:Linear?d=200", torch.device("cpu"))
    assert isinstance(generator, LatentGenerator)
    distribution = DistributionCache(generator).for_class(None)
    assert distribution.distances.shape == distribution.densities.shape == (1000,)
    z = np.random.RandomState(np.random.Philox(key=[0, 4])).randn(2000, 200)
    w = latent_sources.Linear("200").map(z.astype(np.float32), None).astype(np.float64)
    np.testing.assert_allclose(distribution.mean, w[:1000].mean(axis=0), atol=1e-6)
    expected = np.sort(np.linalg.norm(w[1000:] - distribution.mean, axis=1))
    np.testing.assert_allclose(distribution.distances, expected, rtol=1e-6)
    for share in SHARES:
        below = share_below(distribution.mahalanobis_quantile(share) ** 2, 1000, 200)
        assert abs(below - share) < 4 * math.sqrt(2 * share * (1 - share) / 1000)


def test_sets_with_other_thresholds_are_others_and_with_the_same_mean_are_not() -> None:
    versions = {
        name: open_source(f"digits?truncate={name}:0.5", torch.device("cpu")).spec["distribution"]
        for name in ("A", "B", "C", "D", "G")
    }
    assert versions["D"] == versions["G"] == {"draws": DRAWS, "version": 1}
    assert versions["A"] == versions["B"] == versions["C"] == estimation_settings(thresholds=True)
    assert versions["A"] == {"draws": DRAWS, "version": 2}
