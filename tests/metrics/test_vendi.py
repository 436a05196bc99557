"""The Vendi score: the authors' package, the kernel matrix itself, and known sets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigvalsh
from vendi_score.vendi import score_dual

from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics import normalize_rows, vendi_score
from raymetrics.statistics import Moments


def score_of(features: np.ndarray) -> float:
    return vendi_score(Moments.from_samples(normalize_rows(features)))


@pytest.mark.parametrize(("count", "dimension"), [(200, 12), (10, 30)])
def test_package_and_kernel_matrix(rng: np.random.Generator, count: int, dimension: int) -> None:
    features = rng.normal(0.4, 1, size=(count, dimension))
    x = features / np.linalg.norm(features, axis=1, keepdims=True)
    eigenvalues = eigvalsh(x @ x.T / count)
    positive = eigenvalues[eigenvalues > 0]
    expected = np.exp(-(positive * np.log(positive)).sum())
    assert score_of(features) == pytest.approx(expected, rel=1e-10)
    assert score_of(features) == pytest.approx(score_dual(features), rel=1e-10)


def test_counts_different_samples(rng: np.random.Generator) -> None:
    """One direction is 1, whatever the lengths; d orthogonal ones in equal shares are d."""
    assert score_of(np.outer(rng.uniform(1, 9, 20), np.ones(4))) == pytest.approx(1, abs=1e-12)
    assert score_of(np.tile(np.eye(5), (3, 1))) == pytest.approx(5, rel=1e-12)


def test_in_one_pass(rng: np.random.Generator) -> None:
    features = normalize_rows(rng.normal(size=(50, 6)))
    parts = Moments.from_samples(features[:20]).merge(Moments.from_samples(features[20:]))
    assert vendi_score(parts) == pytest.approx(
        vendi_score(Moments.from_samples(features)), rel=1e-12
    )


def test_what_has_no_score_is_an_error_not_a_number(rng: np.random.Generator) -> None:
    with pytest.raises(NotEnoughData, match="no samples"):
        vendi_score(Moments.empty(3))
    with pytest.raises(ShardError, match=r"expected 1; scale them"):
        vendi_score(Moments.from_samples(rng.normal(size=(50, 6))))
