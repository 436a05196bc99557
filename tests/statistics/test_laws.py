"""Every statistic against the laws, over arbitrary cuts and orders."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymetrics.metrics import radii_up_to_median
from raymetrics.statistics import (
    BallMembership,
    ClassScores,
    FeatureRows,
    Histogram,
    Moments,
    NearestDistances,
    NearestNeighbors,
    NestedMoments,
    ProjectedFeatures,
    WeightedMoments,
)
from tests.helpers.exact_search import ExactSearch
from tests.helpers.statistic_laws import assert_laws

COUNT = 40
FEATURES = np.random.default_rng(0).normal(3, 2, (COUNT, 5)).astype(np.float32)


@st.composite
def partitions(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    cuts = draw(st.lists(st.integers(0, COUNT), max_size=6))
    order = draw(st.permutations(range(len(cuts) + 1)))
    return cuts, list(order)


@given(partitions(), st.sampled_from([0.0, 100.0, 1e6]))
@settings(deadline=None)
def test_moments(partition: tuple[list[int], list[int]], offset: float) -> None:
    features = FEATURES.astype(np.float64) + offset
    assert_laws(
        Moments.empty(5),
        lambda rows: Moments.from_samples(features[list(rows)]),
        COUNT,
        *partition,
        # float64 holds features of 1e6 to 1e-10, and their scatter is of order 1.
        tolerance=1e-12 if offset < 1e6 else 1e-9,
    )


@given(partitions())
@settings(deadline=None)
def test_weighted_moments(partition: tuple[list[int], list[int]]) -> None:
    weights = np.random.default_rng(1).gamma(1.0, size=COUNT)
    features = FEATURES.astype(np.float64)
    assert_laws(
        WeightedMoments.empty(5),
        lambda rows: WeightedMoments.from_samples(features[list(rows)], weights[list(rows)]),
        COUNT,
        *partition,
        tolerance=1e-13,
    )


@given(partitions())
@settings(deadline=None)
def test_histogram(partition: tuple[list[int], list[int]]) -> None:
    assert_laws(
        Histogram.empty(5),
        lambda rows: Histogram.from_samples(FEATURES[list(rows)]),
        COUNT,
        *partition,
    )


@given(partitions())
@settings(deadline=None)
def test_rows(partition: tuple[list[int], list[int]]) -> None:
    ids = np.arange(COUNT) * 3
    assert_laws(
        FeatureRows.empty(5),
        lambda rows: FeatureRows.from_samples(ids[list(rows)], FEATURES[list(rows)]),
        COUNT,
        *partition,
    )


@given(partitions())
@settings(deadline=None)
def test_projections(partition: tuple[list[int], list[int]]) -> None:
    ids = np.arange(COUNT) * 3
    assert_laws(
        ProjectedFeatures.empty(9, 5),
        lambda rows: ProjectedFeatures.from_samples(9, ids[list(rows)], FEATURES[list(rows)]),
        COUNT,
        *partition,
    )
    with pytest.raises(ValueError, match="features of 9 and 8 dimensions"):
        ProjectedFeatures.empty(9, 5).merge(ProjectedFeatures.empty(8, 5))


@given(partitions())
@settings(deadline=None)
def test_class_scores(partition: tuple[list[int], list[int]]) -> None:
    splits = np.arange(COUNT) % 3
    assert_laws(
        ClassScores.empty(4, 5),  # one split stays empty
        lambda rows: ClassScores.from_samples(splits[list(rows)], FEATURES[list(rows)], 4),
        COUNT,
        *partition,
        tolerance=1e-12,
    )


@given(partitions(), st.sampled_from([0.0, 100.0]))
@settings(deadline=None)
def test_nested_moments(partition: tuple[list[int], list[int]], offset: float) -> None:
    features = FEATURES.astype(np.float64) + offset
    ranks = np.random.default_rng(1).permutation(COUNT)
    assert_laws(
        NestedMoments.empty(3, 5),
        lambda rows: NestedMoments.from_samples(
            ranks[list(rows)], features[list(rows)], [7, 8, 30]
        ),
        COUNT,
        *partition,
        tolerance=1e-12,
    )


QUERIES = np.concatenate([FEATURES[:5], FEATURES[:25] + np.float32(0.5)])


@given(partitions(), st.sampled_from([1, 3, COUNT + 2]))
@settings(deadline=None, max_examples=50)
def test_nearest(partition: tuple[list[int], list[int]], k: int) -> None:
    assert_laws(
        NearestDistances.empty(len(QUERIES), k),
        lambda rows: NearestDistances(ExactSearch().nearest(QUERIES, FEATURES[list(rows)], k)),
        COUNT,
        *partition,
    )


@given(partitions(), st.sampled_from([1, 3, COUNT + 2]))
@settings(deadline=None, max_examples=50)
def test_nearest_neighbors(partition: tuple[list[int], list[int]], k: int) -> None:
    def of_rows(rows: range) -> NearestNeighbors:
        found = NearestNeighbors.empty(len(QUERIES), k)
        part = ExactSearch().nearest_neighbors(QUERIES, FEATURES[list(rows)], k)
        found.take_nearer(part, slice(None), rows.start)
        return found

    assert_laws(NearestNeighbors.empty(len(QUERIES), k), of_rows, COUNT, *partition)


RADII = ExactSearch().nearest(FEATURES, FEATURES, 3)
LESSER = radii_up_to_median(RADII[:, 0])


def balls_of(points: range, balls: range) -> BallMembership:
    """Of QUERIES[points] among the balls around FEATURES[balls], as parts of all of them."""
    some, others = slice(points.start, points.stop), slice(balls.start, balls.stop)
    found = ExactSearch().balls(
        QUERIES[some], FEATURES[others], RADII[others], realism_radii=LESSER[others]
    )
    return found.embed(some, others, (len(QUERIES), COUNT))


@given(partitions())
@settings(deadline=None, max_examples=50)
def test_balls(partition: tuple[list[int], list[int]]) -> None:
    assert_laws(
        BallMembership.empty(len(QUERIES), COUNT, 3),
        lambda rows: balls_of(range(len(QUERIES)), rows),
        COUNT,
        *partition,
    )


@given(st.lists(st.integers(0, len(QUERIES)), max_size=6), st.permutations(range(7)))
@settings(deadline=None, max_examples=50)
def test_balls_of_parts_of_the_points(cuts: list[int], order: list[int]) -> None:
    assert_laws(
        BallMembership.empty(len(QUERIES), COUNT, 3),
        lambda rows: balls_of(rows, range(COUNT)),
        len(QUERIES),
        cuts,
        [i for i in order if i <= len(cuts)],
    )


def test_a_part_of_the_balls_in_its_place() -> None:
    part = BallMembership(np.array([[2], [1]]), np.array([[2]]), np.array([0.5, np.inf]))
    whole = part.embed(slice(1, 3), slice(2, 3), (4, 3))
    np.testing.assert_array_equal(whole.hits[:, 0], [0, 2, 1, 0])
    np.testing.assert_array_equal(whole.occupancy[:, 0], [0, 0, 2])
    np.testing.assert_array_equal(whole.realism, [0, 0.5, np.inf, 0])


@pytest.mark.parametrize("other", [(5, 3, 2), (4, 5, 2), (4, 3, 5)])
def test_balls_of_other_sizes_are_refused(other: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"4 points among 3 balls.*or of other radii"):
        BallMembership.empty(4, 3, 2).merge(BallMembership.empty(*other))


@pytest.mark.parametrize("kind", [Moments, WeightedMoments, Histogram, FeatureRows])
def test_other_shapes_are_refused_with_both_named(kind: type) -> None:
    with pytest.raises(ValueError, match=r"3.*4"):
        kind.empty(3).merge(kind.empty(4))


@pytest.mark.parametrize("other", [(3, 4), (2, 5)])
def test_nearest_of_other_shapes_are_refused(other: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 4\).*" + re.escape(str(other))):
        NearestDistances.empty(2, 4).merge(NearestDistances.empty(*other))
    with pytest.raises(ValueError, match=r"\(2, 4\).*" + re.escape(str(other))):
        NearestNeighbors.empty(2, 4).merge(NearestNeighbors.empty(*other))


@pytest.mark.parametrize("kind", [ClassScores, NestedMoments])
@pytest.mark.parametrize("other", [(3, 4), (2, 5)])
def test_other_shapes_in_two_ways(kind: type, other: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"\[2, 4\].*" + re.escape(str(list(other)))):
        kind.empty(2, 4).merge(kind.empty(*other))


def test_nested_moments_are_those_of_the_subsets() -> None:
    ranks = np.random.default_rng(1).permutation(COUNT)
    sizes = [2, 10, 30]
    found = NestedMoments.from_samples(ranks, FEATURES, sizes).moments()
    for moments, size in zip(found, sizes, strict=True):
        expected = Moments.from_samples(FEATURES[ranks < size])
        assert moments.count == size
        np.testing.assert_allclose(moments.mean, expected.mean, rtol=1e-12)
        np.testing.assert_allclose(moments.scatter, expected.scatter, rtol=1e-10, atol=1e-12)


def test_class_scores_are_sums_of_probabilities() -> None:
    splits = np.arange(COUNT) % 2
    found = ClassScores.from_samples(splits, FEATURES, 2)
    p = np.exp(FEATURES.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(found.counts, [COUNT / 2, COUNT / 2])
    for i in (0, 1):
        mine = p[splits == i]
        np.testing.assert_allclose(found.probabilities[i], mine.sum(axis=0), rtol=1e-12)
        np.testing.assert_allclose(found.negative_entropy[i], (mine * np.log(mine)).sum())


def test_class_scores_of_a_class_without_a_chance() -> None:
    """p log p of 0 is 0, not NaN: logits so far apart that the softmax underflows."""
    found = ClassScores.from_samples(np.zeros(1, np.int64), np.array([[2000.0, 0.0]]), 1)
    np.testing.assert_array_equal(found.probabilities, [[1, 0]])
    np.testing.assert_array_equal(found.negative_entropy, [0])


def test_a_sample_counted_twice_is_refused() -> None:
    rows = FeatureRows.from_samples(np.array([1, 2]), FEATURES[:2])
    with pytest.raises(ValueError, match="both"):
        rows.merge(rows)


def test_moments_are_numpy_s(rng: np.random.Generator) -> None:
    features = rng.normal(size=(50, 4))
    moments = Moments.from_samples(features)
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), rtol=1e-14)
    for ddof in (0, 1):
        np.testing.assert_allclose(moments.covariance(ddof), np.cov(features.T, ddof=ddof))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_moments_are_numpy_s(rng: np.random.Generator, dtype: type) -> None:
    features = rng.normal(0.3, 1, size=(200, 4)).astype(dtype)
    weights = rng.gamma(0.5, size=200)
    found = WeightedMoments.from_samples(features, weights)
    exact = {"rtol": 1e-5, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-12}
    assert found.sums.dtype == found.products.dtype == np.float64
    np.testing.assert_allclose(found.mean, np.average(features, axis=0, weights=weights), **exact)
    expected = np.cov(features.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(found.covariance(), expected, **exact)
    counts = rng.integers(1, 4, size=200)  # weights that are counts have a ddof
    expected = np.cov(np.repeat(features, counts, axis=0).T)
    found = WeightedMoments.from_samples(features, counts.astype(np.float64))
    np.testing.assert_allclose(found.covariance(ddof=1), expected, **exact)
