"""The median distance: torch's, however few pairs are held at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raymetrics.metrics import median_distance as module
from raymetrics.metrics import pair_tiles
from raymetrics.metrics.median_distance import median_distance


@pytest.mark.parametrize("count", [2, 3, 4, 61])
def test_all_pairs(rng: np.random.Generator, count: int) -> None:
    x = rng.normal(size=(count, 3))
    expected = torch.pdist(torch.from_numpy(x)).median().item()
    assert median_distance(x) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("sampled", [3, 2000])
@pytest.mark.parametrize("kind", ["normal", "few values", "copies", "clusters"])
def test_near_a_sampled_quantile(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, sampled: int, kind: str
) -> None:
    """Also where a poor sample misses the median, or many distances are equal to it."""
    monkeypatch.setattr(module, "_FEW_PAIRS", 10)
    monkeypatch.setattr(module, "_SAMPLED_PAIRS", sampled)
    monkeypatch.setattr(pair_tiles, "TILE_ROWS", 50)
    x = rng.normal(size=(230, 4))
    if kind == "few values":
        x = x.round()
    elif kind == "copies":
        x[20:] = x[0]
    elif kind == "clusters":
        x[:115] += 1e3
    expected = torch.pdist(torch.from_numpy(x)).median().item()
    assert median_distance(x) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_few_pairs_are_held(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FEW_PAIRS", 10)
    monkeypatch.setattr(module, "_SAMPLED_PAIRS", 20_000)
    held = []
    split = module._split_pairs

    def remember(*arguments):
        below, near = split(*arguments)
        held.append(len(near))
        return below, near

    monkeypatch.setattr(module, "_split_pairs", remember)
    median_distance(rng.normal(size=(1000, 8)))
    assert len(held) == 1
    assert held[0] < 0.03 * 1000 * 999 / 2
