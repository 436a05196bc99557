"""The Inception Score: its definition, its bounds, and torch-fidelity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch_fidelity.metric_isc import isc_features_to_metric

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import assign_splits, inception_score
from raymetrics.statistics import ClassScores


def score_of(logits: np.ndarray, splits: int = 1, seed: int | None = None):
    return inception_score(
        ClassScores.from_samples(assign_splits(len(logits), splits, seed), logits, splits)
    )


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [100, 237])
def test_torch_fidelity(rng: np.random.Generator, count: int, shuffle: bool) -> None:
    """Also where the splits are not of one size."""
    logits = rng.normal(0, 3, size=(count, 12)).astype(np.float32)
    found = score_of(logits, 10, 2020 if shuffle else None)
    theirs = isc_features_to_metric(torch.from_numpy(logits), 10, shuffle, 2020)
    assert found.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert found.std == pytest.approx(theirs["inception_score_std"], rel=1e-10)


def test_definition_sample_by_sample(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 2, size=(30, 4))
    p = softmax(logits, axis=1)
    divergences = [sum(row * np.log(row / p.mean(axis=0))) for row in p]
    assert score_of(logits).mean == pytest.approx(np.exp(np.mean(divergences)), rel=1e-12)


def test_bounds() -> None:
    """All alike is 1; every class once and surely is the number of classes."""
    assert score_of(np.ones((8, 5))).mean == pytest.approx(1, rel=1e-14)
    assert score_of(np.eye(5) * 1e4).mean == pytest.approx(5, rel=1e-14)


def test_splits_are_contiguous_parts_and_cover_all() -> None:
    np.testing.assert_array_equal(assign_splits(7, 3, None), [0, 0, 1, 1, 2, 2, 2])
    shuffled = assign_splits(7, 3, 1)
    np.testing.assert_array_equal(np.bincount(shuffled), [2, 2, 3])
    assert shuffled.dtype == np.int64
    assert (shuffled != assign_splits(7, 3, None)).any()


def test_empty_splits_are_an_error_not_a_number() -> None:
    with pytest.raises(NotEnoughData, match=r"9 samples in 10 splits.*fewer splits"):
        assign_splits(9, 10)
    with pytest.raises(NotEnoughData, match=r"2 of 2 splits"):
        inception_score(ClassScores.empty(2, 3))
