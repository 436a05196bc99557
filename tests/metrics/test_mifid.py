"""MiFID: torchmetrics' number, brute force, closed forms, and what has no cosine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

import raymetrics as rm
from raymetrics.errors import RaymetricsError, ShardError
from raymetrics.metrics import Convention, memorization_distance, mifid
from raymetrics.metrics.mifid import largest_cosines
from raymetrics.metrics.registry import find_metric


def brute_force(samples: np.ndarray, references: np.ndarray) -> np.ndarray:
    """The largest |cos| of every sample, from all pairs in float64."""
    x, y = (side.astype(np.float64) for side in (samples, references))
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    largest: np.ndarray = abs(x @ y.T).max(axis=1)
    return largest


def near_pairs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Two sides of samples near a few centers, so that nearest neighbors are close."""
    centers = rng.gamma(0.5, 1, size=(8, 12))
    return {
        side: (centers[rng.integers(0, 8, n)] + abs(rng.normal(0, 0.2, (n, 12)))).astype(np.float32)
        for side, n in (("real", 90), ("generated", 70))
    }


class _Same(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def of_torchmetrics(real: np.ndarray, generated: np.ndarray) -> float:
    metric = MemorizationInformedFrechetInceptionDistance(feature=_Same())
    for features, is_real in ((real, True), (generated, False)):
        metric.update(torch.from_numpy(features).double(), real=is_real)
    return float(metric.compute())


@pytest.mark.parametrize("scale", [1.0, 40.0], ids=["near", "beyond the threshold"])
def test_the_number_of_torchmetrics(rng: np.random.Generator, scale: float) -> None:
    sides = near_pairs(rng)
    sides["generated"] = sides["generated"] + np.float32(scale - 1) * rng.normal(
        size=sides["generated"].shape
    ).astype(np.float32)
    expected = of_torchmetrics(**sides)
    assert rm.in_memory.mifid(**sides, convention="torchmetrics") == pytest.approx(
        expected, rel=1e-6
    )
    # It takes the neighbors of real samples, the paper those of generated ones.
    swapped = {"real": sides["generated"], "generated": sides["real"]}
    assert rm.in_memory.mifid(**sides) == pytest.approx(of_torchmetrics(**swapped), rel=1e-6)


def test_rows_of_zeros_are_left_out_as_there(rng: np.random.Generator) -> None:
    sides = near_pairs(rng)
    sides["real"][:3] = 0
    found = rm.in_memory.mifid(**sides, convention="torchmetrics")
    assert found == pytest.approx(of_torchmetrics(**sides), rel=1e-6)
    with pytest.raises(ShardError, match=r"all 4 rows of features sum to 0.*extract them again"):
        memorization_distance(np.zeros((4, 2), np.float32), sides["real"])


def test_cosines_are_exact_to_float64_where_float32_cannot_tell(rng: np.random.Generator) -> None:
    """A thousand references in nearly one direction, of which only float64 knows the nearest."""
    direction = rng.normal(size=64)
    references = (direction + 1e-5 * rng.normal(size=(1000, 64))).astype(np.float32)
    samples = (-direction + 1e-5 * rng.normal(size=(5, 64))).astype(np.float32)
    expected = brute_force(samples, references)
    assert largest_cosines(samples, references) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("cosines", [1, 500, 2**24])
def test_any_blocks_give_the_same(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, cosines: int
) -> None:
    from raymetrics.metrics import mifid as function

    monkeypatch.setitem(function.__globals__, "_BLOCK_COSINES", cosines)
    sides = near_pairs(rng)
    found = largest_cosines(sides["generated"], sides["real"])
    assert found == pytest.approx(brute_force(sides["generated"], sides["real"]), rel=1e-12)


def test_closed_forms() -> None:
    assert memorization_distance(np.eye(2, 3, dtype=np.float32), np.eye(3, dtype=np.float32)) == 0
    half = np.array([[1, 1, 0]], np.float32)
    assert memorization_distance(half, np.eye(3, dtype=np.float32)) == pytest.approx(1 - 0.5**0.5)
    assert mifid(7.0, 0.05) == pytest.approx(140)
    assert mifid(7.0, 0.1) == pytest.approx(7)  # from the threshold on
    assert mifid(7.0, 0.1, threshold=0.2) == pytest.approx(70)
    assert mifid(1e-9, 0.05) == 0


def test_copies_make_it_larger(rng: np.random.Generator) -> None:
    sides = near_pairs(rng)
    copied = {**sides, "generated": sides["generated"].copy()}
    copied["generated"][:60] = sides["real"][:60]
    assert rm.in_memory.mifid(**copied) > 0
    small = memorization_distance(copied["generated"], sides["real"])
    assert small < memorization_distance(sides["generated"], sides["real"]) / 5


def test_the_threshold_is_a_setting() -> None:
    assert find_metric("mifid?threshold=0.2").variant == "mifid?threshold=0.2"
    with pytest.raises(RaymetricsError, match="threshold of mifid is 'x', expected a number"):
        find_metric("mifid?threshold=x")
    with pytest.raises(RaymetricsError, match="mifid_side is 'both'; there are generated, real"):
        Convention(mifid_side="both")  # type: ignore[arg-type]
