"""Pearson's correlation coefficient."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from raymetrics.metrics.correlation import pearson_correlation


def test_pearson_correlation_is_that_of_scipy() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    expected = scipy.stats.pearsonr(x, y).statistic
    assert pearson_correlation(x.tolist(), y.tolist()) == pytest.approx(expected, abs=1e-14)


def test_pearson_correlation_of_a_line() -> None:
    assert pearson_correlation([1, 2, 4], [3, 5, 9]) == pytest.approx(1)
    assert pearson_correlation([1, 2, 4], [-3, -5, -9]) == pytest.approx(-1)
