"""MIND and the sliced Wasserstein distance: torch-fidelity's formula, POT's, and closed forms."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
import torch

import raymetrics as rm
from raymetrics.attacks import draw_by_weight
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics import Convention, mind
from raymetrics.metrics.registry import find_metric
from raymetrics.metrics.required_statistics import SampleIds


def torch_fidelity_s_number(
    generated: np.ndarray, real: np.ndarray, projections: int, seed: int, kind: torch.dtype
) -> float:
    """3 d times the mean squared difference of sorted projections, input 1 the generated side."""
    random = torch.Generator().manual_seed(seed)
    sides = [torch.from_numpy(generated), torch.from_numpy(real)]
    count = min(map(len, sides))
    sides = [
        x if len(x) == count else x[torch.randperm(len(x), generator=random)[:count]] for x in sides
    ]
    directions = torch.randn(projections, real.shape[1], generator=random).to(kind)
    directions /= directions.norm(dim=1, keepdim=True)
    x, y = ((side.to(kind) @ directions.T).sort(dim=0).values for side in sides)
    return 3 * real.shape[1] * ((x - y) ** 2).mean().item()


def two_sides(rng: np.random.Generator, real: int, generated: int) -> dict[str, np.ndarray]:
    shapes = {"real": (real, 24), "generated": (generated, 24)}
    return {side: rng.gamma(2, size=shape).astype(np.float32) for side, shape in shapes.items()}


@pytest.mark.parametrize("counts", [(300, 300), (500, 301), (301, 500)])
@pytest.mark.parametrize("seed", [2020, 7])
def test_torch_fidelity_s_formula(
    rng: np.random.Generator, counts: tuple[int, int], seed: int
) -> None:
    sides = two_sides(rng, *counts)
    asked = {"projections": 100, "seed": seed}
    found = rm.in_memory.mind(**sides, **asked)
    for kind, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-5)):
        expected = torch_fidelity_s_number(**sides, **asked, kind=kind)
        assert found == pytest.approx(expected, rel=tolerance)


def test_closed_forms(rng: np.random.Generator) -> None:
    """A shift by s has |u . s|^2 along u, and d times its mean is about |s|^2."""
    x = rng.normal(size=(60, 24))
    shift = rng.normal(size=24)
    assert mind(real=x, generated=x[::-1]) == 0
    moved = mind(real=x, generated=(x + shift)[::-1], projections=20_000)
    assert moved == pytest.approx(3 * shift @ shift, rel=0.05)
    asked = {"real": x, "generated": x + shift, "projections": 500}
    expected = (mind(**asked) / (3 * 24)) ** 0.5
    assert rm.in_memory.sliced_wasserstein(**asked) == pytest.approx(expected, rel=1e-12)


def test_matched_moments_do_not_suffice(rng: np.random.Generator) -> None:
    """Weights bring the Frechet distance to that of another real set; MIND still tells them apart.

    The real features lie near the corners of a square, the generated ones are Gaussian.
    """
    real, other = rng.choice([-1, 1], size=(2, 1000, 2)) + rng.normal(0, 0.1, size=(2, 1000, 2))
    generated = rng.normal(0.3, 1.6, size=(4000, 2))
    weights = rm.in_memory.reweight(real=real, generated=generated).weights
    drawn = generated[draw_by_weight(weights, 1000, 0, "multinomial")]
    sides = {"random": generated[:1000], "drawn": drawn, "real": other}
    distances = {name: rm.frechet_distance(real=real, generated=x) for name, x in sides.items()}
    minds = {name: mind(real=real, generated=x) for name, x in sides.items()}
    assert distances["drawn"] < min(2 * distances["real"], 0.05 * distances["random"])
    assert minds["drawn"] > max(5 * minds["real"], 0.7 * minds["random"])


def test_one_dimension_is_the_wasserstein_distance(rng: np.random.Generator) -> None:
    x, y = rng.gamma(2, size=(2, 80, 1))
    expected = np.sqrt(((np.sort(x, axis=0) - np.sort(y, axis=0)) ** 2).mean())
    found = rm.in_memory.sliced_wasserstein(real=x, generated=y, projections=16)
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_approximation_by_moments(rng: np.random.Generator) -> None:
    """dgm-eval's sw_approx, which is near the distance of many projections of Gaussians."""
    x, y = rng.normal(size=(400, 30)), rng.normal(0.3, 1.4, size=(500, 30))
    means = [side.mean(axis=0) for side in (x, y)]
    powers = [
        (np.linalg.norm(side - mean, axis=1) ** 2).mean() / 30
        for side, mean in zip((x, y), means, strict=True)
    ]
    offset = np.linalg.norm(means[0] - means[1]) ** 2 / 30
    expected = (offset + (powers[0] ** 0.5 - powers[1] ** 0.5) ** 2) ** 0.5
    found = rm.in_memory.sliced_wasserstein(real=x, generated=y, method="moments")
    assert found == pytest.approx(expected, rel=1e-12)
    sampled = rm.in_memory.sliced_wasserstein(real=x, generated=y)
    assert sampled == pytest.approx(expected, rel=0.1)
    assert sampled != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("counts", [(90, 90), (120, 90), (90, 120)])
@pytest.mark.parametrize("cuts", [[30], [1, 50, 88]])
def test_blocks_of_shards(
    rng: np.random.Generator, counts: tuple[int, int], cuts: list[int]
) -> None:
    """Of any partition, and of ids that a draw repeats."""
    sides = two_sides(rng, *counts)
    ids = {side: np.sort(rng.integers(0, 60, len(x))) for side, x in sides.items()}
    sides = {side: x[ids[side]] for side, x in sides.items()}  # an id has one row of features
    samples = SampleIds(**ids)
    metric = find_metric("mind?projections=64")
    folded = {}
    for side, x in sides.items():
        (function,) = metric.needs(samples, side, Convention()).values()
        borders = np.searchsorted(ids[side], np.searchsorted(np.arange(60), cuts))
        blocks = zip(np.split(ids[side], borders), np.split(x, borders), strict=True)
        parts = [function(*block) for block in blocks]
        folded[side] = {"projections": reduce(lambda a, b: a.merge(b), parts)}
    (value,) = metric.compute(**folded, samples=samples, convention=Convention())
    assert value.value == pytest.approx(mind(**sides, projections=64), rel=1e-6)
    assert value.convention == {"scale": "3 d", "projections": 64, "seed": 2020, "compared": 90}


def test_both_metrics_share_the_projections() -> None:
    """They are computed once, also of the real side of several draws."""
    samples, other = (SampleIds(np.arange(30), ids) for ids in (np.arange(9), np.arange(9, 18)))
    needs = [
        find_metric(name).needs(drawn, "real", Convention())["projections"]
        for name in ("mind", "sliced-wasserstein")
        for drawn in (samples, other)
    ]
    assert len(set(needs)) == 1
    assert (
        find_metric("mind?seed=1").needs(samples, "real", Convention())["projections"] != needs[0]
    )


def test_what_has_no_number_is_an_error() -> None:
    x = np.ones((4, 3))
    with pytest.raises(NotEnoughData, match="0 real and 4 generated samples"):
        mind(real=x[:0], generated=x)
    with pytest.raises(NotEnoughData, match="15 projections, expected at least 16"):
        mind(real=x, generated=x, projections=15)
    with pytest.raises(RaymetricsError, match="seed is -1, expected a number from 0"):
        mind(real=x, generated=x, seed=-1)
    with pytest.raises(RaymetricsError, match="method is 'max'; there are projections, moments"):
        rm.in_memory.sliced_wasserstein(real=x, generated=x, method="max")
    with pytest.raises(NotEnoughData, match="0 real and 4 generated samples"):
        rm.in_memory.sliced_wasserstein(real=x[:0], generated=x, method="moments")
    with pytest.raises(ShardError, match="NaN"):
        rm.in_memory.mind(real=x, generated=x * np.nan)
