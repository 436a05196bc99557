"""The Pareto frontier against its definition, point by point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raymetrics.errors import RaymetricsError
from raymetrics.metrics.pareto import pareto_frontier

# Few values, so that ties and equal points are common.
SHAPES = st.tuples(st.integers(0, 30), st.integers(1, 4))
POINTS = arrays(np.float64, SHAPES, elements=st.sampled_from([-np.inf, 0.0, 0.25, 0.5, 1.0]))


def dominates(p: np.ndarray, q: np.ndarray) -> bool:
    """The definition."""
    return bool(all(a >= b for a, b in zip(p, q, strict=True)) and any(p > q))


@given(POINTS)
def test_it_is_what_nothing_dominates(points: np.ndarray) -> None:
    expected = [i for i, q in enumerate(points) if not any(dominates(p, q) for p in points)]
    found = pareto_frontier(points)
    assert found.tolist() == expected
    assert found.dtype == np.int64


@given(POINTS, st.randoms(use_true_random=False))
def test_neither_order_nor_scale_matter(points: np.ndarray, random: object) -> None:
    order = np.array(random.sample(range(len(points)), len(points)), np.int64)  # type: ignore[attr-defined]
    expected = np.isin(order, pareto_frontier(points)).nonzero()[0]
    np.testing.assert_array_equal(pareto_frontier(np.exp(points[order])), expected)


def test_snapshots() -> None:
    """Precision and recall: the second is worse than the first in both, the last two are equal."""
    points = np.array([[0.7, 0.4], [0.6, 0.3], [0.5, 0.6], [0.5, 0.6], [0.7, 0.3]])
    assert pareto_frontier(points).tolist() == [0, 2, 3]


@pytest.mark.parametrize("points", [np.zeros(3), np.array([[0.5, np.nan]])])
def test_what_cannot_be_compared(points: np.ndarray) -> None:
    with pytest.raises(RaymetricsError, match=r"takes numbers \[points, dimensions\], found shape"):
        pareto_frontier(points)
