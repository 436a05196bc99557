"""Every statistic against the laws, over arbitrary cuts and orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raymetrics.statistics import Histogram, Moments, Rows
from tests.laws import check_statistic

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
    check_statistic(
        Moments.empty(5),
        lambda rows: Moments.of(features[list(rows)]),
        COUNT,
        *partition,
        # float64 holds features of 1e6 to 1e-10, and their scatter is of order 1.
        tolerance=1e-12 if offset < 1e6 else 1e-9,
    )


@given(partitions())
@settings(deadline=None)
def test_histogram(partition: tuple[list[int], list[int]]) -> None:
    check_statistic(
        Histogram.empty(5), lambda rows: Histogram.of(FEATURES[list(rows)]), COUNT, *partition
    )


@given(partitions())
@settings(deadline=None)
def test_rows(partition: tuple[list[int], list[int]]) -> None:
    ids = np.arange(COUNT) * 3
    check_statistic(
        Rows.empty(5),
        lambda rows: Rows.of(ids[list(rows)], FEATURES[list(rows)]),
        COUNT,
        *partition,
    )


@pytest.mark.parametrize("kind", [Moments, Histogram, Rows])
def test_other_shapes_are_refused_with_both_named(kind: type) -> None:
    with pytest.raises(ValueError, match=r"3.*4"):
        kind.empty(3).merge(kind.empty(4))


def test_a_sample_counted_twice_is_refused() -> None:
    rows = Rows.of(np.array([1, 2]), FEATURES[:2])
    with pytest.raises(ValueError, match="both"):
        rows.merge(rows)


def test_moments_are_numpy_s(rng: np.random.Generator) -> None:
    features = rng.normal(size=(50, 4))
    moments = Moments.of(features)
    np.testing.assert_allclose(moments.mean, features.mean(axis=0), rtol=1e-14)
    for ddof in (0, 1):
        np.testing.assert_allclose(moments.covariance(ddof), np.cov(features.T, ddof=ddof))
