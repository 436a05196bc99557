"""KAD: kadtk's formula over whole matrices, and what it says of sets that have no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import raymetrics as rm
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics import kad, pair_tiles


def kadtk_s_number(x: np.ndarray, y: np.ndarray, width_of: np.ndarray) -> float:
    """100 times the unbiased MMD^2, with torch's median of all distances, the lower of two."""
    width = torch.pdist(torch.from_numpy(width_of)).median().item()

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(axis=2) / (2 * width**2))

    def mean_off_diagonal(a: np.ndarray) -> float:
        return (kernel(a, a).sum() - len(a)) / (len(a) * (len(a) - 1))

    return 100 * (mean_off_diagonal(x) + mean_off_diagonal(y) - 2 * kernel(x, y).mean())


@pytest.mark.parametrize("tile", [7, 1024])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_kadtk_s_formula(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, tile: int, offset: float
) -> None:
    """The program takes the median of the evaluated set, the paper that of the reference."""
    monkeypatch.setattr(pair_tiles, "TILE_ROWS", tile)
    real = rng.normal(size=(40, 6)) + offset
    generated = rng.normal(0.4, 1.5, size=(31, 6)) + offset
    for bandwidth, side in (("real", real), ("generated", generated)):
        found = rm.in_memory.kad(real=real, generated=generated, bandwidth=bandwidth)
        assert found == pytest.approx(kadtk_s_number(real, generated, side), rel=1e-8)


def test_unbiased_and_the_order_of_rows(rng: np.random.Generator) -> None:
    found = [kad(real=x, generated=y) for x, y in rng.normal(size=(200, 2, 20, 4))]
    assert abs(np.mean(found)) < 4 * np.std(found) / len(found) ** 0.5
    assert min(found) < 0
    x, y = rng.normal(size=(2, 30, 4))
    assert kad(real=x, generated=y) == pytest.approx(kad(real=x[::-1], generated=y[::-1]), rel=1e-9)
    # Neither the origin nor the unit of the features matters.
    assert kad(real=3 * x + 1, generated=3 * y + 1) == pytest.approx(
        kad(real=x, generated=y), rel=1e-9
    )


def test_what_has_no_number_is_an_error() -> None:
    with pytest.raises(NotEnoughData, match=r"3 real and 1 generated samples.*at least two"):
        kad(real=np.ones((3, 2)), generated=np.ones((1, 2)))
    copies, varied = np.ones((5, 2)), np.arange(10.0).reshape(5, 2)
    with pytest.raises(ShardError, match="half of all pairs of real samples have equal features"):
        kad(real=copies, generated=varied)
    assert kad(real=copies, generated=varied, bandwidth="generated") > 0
    varied[1, 1] = np.nan
    with pytest.raises(ShardError, match=r"generated features hold NaN .* in 1 of 5 rows \(1\)"):
        rm.in_memory.kad(real=copies, generated=varied)
