"""The Frechet distance: closed forms, a textbook version, and other people's programs."""

from __future__ import annotations

import numpy as np
import pytest
from torch_fidelity.metric_fid import fid_statistics_to_metric

import raymetrics as rm
from raymetrics.errors import NotEnoughData
from raymetrics.metrics import frechet_distance
from raymetrics.statistics import Moments
from tests import oracles


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    """Moments whose covariance, divided by count - 1, is exactly this."""
    return Moments(101, mean, covariance * 100)


def test_gaussians_on_common_axes() -> None:
    """sum (m_r - m_g)^2 + (s_r - s_g)^2, for covariances diag(s^2)."""
    real = gaussian(np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]))
    generated = gaussian(np.array([1.0, 1.0, 0.0]), np.diag([4.0, 4.0, 1.0]))
    expected = (1 + 0 + 4) + (1 + 0 + 4)
    assert frechet_distance(real=real, generated=generated) == pytest.approx(expected, rel=1e-13)


def test_the_same_set_is_at_distance_zero(rng: np.random.Generator) -> None:
    moments = Moments.of(rng.normal(size=(30, 60)))  # fewer samples than dimensions
    scale = np.trace(moments.covariance())
    assert abs(frechet_distance(real=moments, generated=moments)) < 1e-7 * scale


@pytest.mark.parametrize(("count", "dimension"), [(500, 32), (40, 64)])
def test_textbook_and_torch_fidelity(rng: np.random.Generator, count: int, dimension: int) -> None:
    mixing = rng.normal(size=(dimension, dimension))
    real = (rng.normal(size=(count, dimension)) @ mixing).astype(np.float32)
    generated = (rng.normal(0.2, 1.1, size=(count, dimension)) @ mixing).astype(np.float32)
    found = rm.frechet_distance(real=real, generated=generated)
    assert found == pytest.approx(oracles.frechet_distance(real, generated), rel=1e-6)
    statistics = [
        {"mu": x.mean(axis=0, dtype=np.float64), "sigma": np.cov(x.T.astype(np.float64))}
        for x in (real, generated)
    ]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)
    assert found == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)


def test_symmetric_and_unmoved_by_rotation(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(200, 8)), rng.normal(0.5, 2, size=(150, 8))
    rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    there = rm.frechet_distance(real=real, generated=generated)
    back = rm.frechet_distance(real=generated, generated=real)
    turned = rm.frechet_distance(real=real @ rotation + 5, generated=generated @ rotation + 5)
    assert there == pytest.approx(back, rel=1e-12)
    assert there == pytest.approx(turned, rel=1e-10)


def test_one_sample_has_no_covariance() -> None:
    with pytest.raises(NotEnoughData, match="at least 2"):
        rm.frechet_distance(real=np.ones((1, 3)), generated=np.ones((5, 3)))
