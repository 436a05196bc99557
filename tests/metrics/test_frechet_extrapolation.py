"""FID-infinity and the distance by sample count: lines that are known, and a truth."""

from __future__ import annotations

import numpy as np
import pytest

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import (
    frechet_by_count,
    frechet_distance,
    frechet_infinity,
    subset_sizes,
)
from raymetrics.statistics import Moments, NestedMoments

DIMENSION = 16
REAL = Moments(10**9, np.zeros(DIMENSION), np.eye(DIMENSION) * (10**9 - 1))


def nested(rng: np.random.Generator, count: int, sizes: list[int]) -> list[Moments]:
    """Moments of subsets of samples with mean 0.1 and deviation 1.2 on every axis."""
    features = rng.normal(0.1, 1.2, size=(count, DIMENSION))
    return NestedMoments.from_samples(rng.permutation(count), features, sizes).moments()


def test_extrapolated_is_nearer_to_the_closed_form(rng: np.random.Generator) -> None:
    truth = DIMENSION * (0.1**2 + 0.2**2)
    sizes = subset_sizes(1000, points=15, smallest=100)
    found = [frechet_infinity(real=REAL, generated=nested(rng, 1000, sizes)) for _ in range(20)]
    plain = np.array([f.distances[-1] for f in found]) - truth
    extrapolated = np.array([f.value for f in found]) - truth
    assert plain.mean() > 0.05 * truth
    assert abs(extrapolated.mean()) < plain.mean() / 4
    assert np.abs(extrapolated).mean() < np.abs(plain).mean()


def test_is_a_straight_line_in_one_over_count(rng: np.random.Generator) -> None:
    sizes = [50, 100, 400]
    moments = nested(rng, 400, sizes)
    found = frechet_infinity(real=REAL, generated=moments)
    distances = [frechet_distance(real=REAL, generated=m) for m in moments]
    np.testing.assert_array_equal(found.distances, distances)
    np.testing.assert_array_equal(found.counts, sizes)
    design = np.stack([np.ones(3), 1 / np.array(sizes)], axis=1)
    expected = np.linalg.lstsq(design, np.array(distances))[0]
    np.testing.assert_allclose([found.value, found.slope], expected, rtol=1e-10)
    assert found.slope > 0


def test_one_size_is_no_line(rng: np.random.Generator) -> None:
    moments = nested(rng, 100, [100])
    with pytest.raises(NotEnoughData, match=r"1 sizes.*at least 2"):
        frechet_infinity(real=REAL, generated=moments * 3)


def test_by_count_is_mean_and_deviation_over_seeds(rng: np.random.Generator) -> None:
    sizes = [40, 160, 640]
    seeds = [nested(rng, 640, sizes) for _ in range(6)]
    found = frechet_by_count(real=[[REAL] * 3] * 6, generated=seeds)
    each = [[frechet_distance(real=REAL, generated=m) for m in seed] for seed in seeds]
    np.testing.assert_array_equal(found.counts, sizes)
    np.testing.assert_allclose(found.mean, np.mean(each, axis=0), rtol=1e-14)
    np.testing.assert_allclose(found.std, np.std(each, axis=0, ddof=1), rtol=1e-14)
    assert np.isnan(frechet_by_count(real=[[REAL] * 3], generated=seeds[:1]).std).all()
    assert (np.diff(found.mean) < 0).all()
    assert found.std[-1] < found.std[0]


def test_by_count_refuses_what_does_not_fit(rng: np.random.Generator) -> None:
    seeds = [nested(rng, 60, [40, 60]), nested(rng, 60, [30, 60])]
    with pytest.raises(NotEnoughData, match="0 seeds"):
        frechet_by_count(real=[], generated=[])
    with pytest.raises(ValueError, match=r"\[40, 60\], \[30, 60\]"):
        frechet_by_count(real=seeds, generated=seeds)
    with pytest.raises(ValueError, match="zip"):
        frechet_by_count(real=seeds, generated=seeds[:1])


def test_sizes() -> None:
    assert subset_sizes(50_000)[:2] == [5000, 8214]
    assert subset_sizes(50_000)[-1] == 50_000
    assert subset_sizes(12, points=3, smallest=10) == [10, 11, 12]
    with pytest.raises(NotEnoughData, match=r"5000 to the 300 .*at least 5014.*start at fewer"):
        subset_sizes(300)
