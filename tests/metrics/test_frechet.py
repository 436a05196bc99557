"""The Frechet distance: closed forms, a textbook version, and other people's programs."""

from __future__ import annotations

import inspect
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

import raymetrics as rm
from raymetrics.errors import NotEnoughData
from raymetrics.metrics import frechet_distance
from raymetrics.statistics import Moments
from tests.helpers import oracles


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
    moments = Moments.from_samples(rng.normal(size=(30, 60)))  # fewer samples than dimensions
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


PEERS = {
    "pytorch-fid": ("pytorch_fid.fid_score", "calculate_frechet_distance"),
    "clean-fid": ("cleanfid.fid", "frechet_distance"),
}


def two_sets(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mixing = rng.normal(size=(24, 24))
    return rng.normal(size=(300, 24)) @ mixing, rng.normal(0.2, 1.1, size=(200, 24)) @ mixing


# They ask SciPy for a way of calling sqrtm that it is taking away.
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
@pytest.mark.skipif(
    "disp" not in inspect.signature(sqrtm).parameters, reason="they need an older SciPy"
)
@pytest.mark.parametrize("peer", PEERS)
def test_peers_that_take_mean_and_covariance(rng: np.random.Generator, peer: str) -> None:
    real, generated = two_sets(rng)
    module, name = PEERS[peer]
    theirs = getattr(import_module(module), name)(
        real.mean(axis=0), np.cov(real.T), generated.mean(axis=0), np.cov(generated.T)
    )
    found = rm.frechet_distance(real=real, generated=generated)
    assert found == pytest.approx(theirs, rel=1e-9)


def test_torch_fidelity_from_features(rng: np.random.Generator) -> None:
    real, generated = two_sets(rng)
    statistics = [fid_features_to_statistics(torch.from_numpy(x)) for x in (real, generated)]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    found = rm.frechet_distance(real=real, generated=generated)
    assert found == pytest.approx(theirs, rel=1e-9)


def test_ddof_0_is_nvidia_s(rng: np.random.Generator) -> None:
    """Whose covariances are sums of products, divided by the count, less those of the mean."""
    real, generated = two_sets(rng)
    (m, s), (n, t) = (
        (x.mean(axis=0), x.T @ x / len(x) - np.outer(x.mean(axis=0), x.mean(axis=0)))
        for x in (real, generated)
    )
    expected = ((m - n) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    found = rm.frechet_distance(real=real, generated=generated, ddof=0)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found != pytest.approx(rm.frechet_distance(real=real, generated=generated), rel=1e-4)


@pytest.mark.parametrize("swapped", [False, True])
def test_singular_and_regular_covariances(rng: np.random.Generator, swapped: bool) -> None:
    """A side of few samples in many dimensions has no Cholesky factor."""
    few, many = rng.normal(size=(6, 20)), rng.normal(size=(100, 20))
    real, generated = (many, few) if swapped else (few, many)
    found = rm.frechet_distance(real=real, generated=generated)
    assert found == pytest.approx(oracles.frechet_distance(real, generated), rel=1e-6)


def test_a_dimension_that_never_changes(rng: np.random.Generator) -> None:
    features = rng.normal(size=(2, 50, 4))
    expected = rm.frechet_distance(real=features[0], generated=features[1])
    real, generated = (np.hstack([x, np.full((50, 1), 3.0)]) for x in features)
    assert rm.frechet_distance(real=real, generated=generated) == pytest.approx(expected, rel=1e-12)


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


def test_the_distance_of_equal_sets_is_not_below_0(rng: np.random.Generator) -> None:
    """Of many sets, rounding errors of either sign; each of them is 0 but for these."""
    found = []
    for dimension in range(1, 40):
        x = rng.normal(size=(30, dimension)) + 1
        found.append(
            frechet_distance(real=Moments.from_samples(x), generated=Moments.from_samples(x[::-1]))
        )
    assert min(found) == 0
    assert max(found) < 1e-6
