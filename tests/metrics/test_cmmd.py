"""CMMD: a double sum, and what it says of equal and of known sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import raymetrics as rm
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics import cmmd, normalize_rows, pair_tiles


def double_sum(x: np.ndarray, y: np.ndarray, sigma: float = 10) -> float:
    def mean(a: np.ndarray, b: np.ndarray) -> float:
        widths = 2 * sigma**2
        return float(np.mean([np.exp(-((p - q) @ (p - q)) / widths) for p in a for q in b]))

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_double_sum(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(pair_tiles, "TILE_ROWS", block)
    real, generated = rng.normal(size=(20, 5)), rng.normal(0.5, 2, size=(15, 5))
    expected = double_sum(normalize_rows(real), normalize_rows(generated))
    assert cmmd(real=real, generated=generated) == pytest.approx(expected, rel=1e-9)


def test_the_same_set_is_at_distance_zero(rng: np.random.Generator) -> None:
    features = rng.normal(size=(40, 6))
    assert cmmd(real=features, generated=features[::-1]) == pytest.approx(0, abs=1e-10)


def test_only_directions_count(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(2, 30, 4))
    longer = generated * rng.uniform(1, 5, size=(30, 1))
    expected = cmmd(real=real, generated=generated)
    assert expected > 0
    assert cmmd(real=real, generated=longer) == pytest.approx(expected, rel=1e-9)
    # Opposite directions: 1000 (1 + 1 - 2 exp(-4 / 200)).
    apart = cmmd(real=np.eye(1, 4), generated=-np.eye(1, 4))
    assert apart == pytest.approx(2000 * (1 - np.exp(-0.02)), rel=1e-12)


def test_what_has_no_distance_is_an_error_not_a_number() -> None:
    with pytest.raises(NotEnoughData, match=r"3 real and 0 generated"):
        cmmd(real=np.ones((3, 2)), generated=np.ones((0, 2)))
    for bad in (0, np.nan, np.inf):
        features = np.ones((4, 2))
        features[2] = bad
        with pytest.raises(ShardError, match=r"1 of 4 rows.*first row 2"):
            normalize_rows(features)


@pytest.mark.parametrize("lengths", ["unit", "kept"])
def test_the_median_of_both_sides(rng: np.random.Generator, lengths: str) -> None:
    """As FD-loss: of the distances of all pairs of both sides, the middle one; lengths are kept."""
    real, generated = rng.normal(size=(20, 5)), rng.normal(0.5, 2, size=(15, 5))
    x, y = (real, generated) if lengths == "kept" else map(normalize_rows, (real, generated))
    sigma = torch.pdist(torch.from_numpy(np.concatenate([x, y]))).median().item()
    asked = {"real": real, "generated": generated, "bandwidth": "median", "lengths": lengths}
    assert rm.in_memory.cmmd(**asked) == pytest.approx(double_sum(x, y, sigma), rel=1e-9)


def test_a_median_of_0_is_an_error() -> None:
    copies = np.ones((9, 2))
    with pytest.raises(ShardError, match="half of all pairs of samples have equal features"):
        cmmd(real=copies, generated=copies, bandwidth="median")
