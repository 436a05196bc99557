"""The kernel distance: a double sum, torch-fidelity's code, and what unbiased means."""

from __future__ import annotations

import numpy as np
import pytest
from torch_fidelity.metric_kid import kernel_mmd

import raymetrics as rm
from raymetrics.errors import NotEnoughData
from raymetrics.metrics.kernel import squared_mmd
from tests import oracles


def test_double_sum_and_torch_fidelity(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(25, 6)), rng.normal(0.3, 1, size=(25, 6))
    found = squared_mmd(x, y)
    assert found == pytest.approx(oracles.unbiased_mmd(x, y), rel=1e-12)
    assert found == pytest.approx(kernel_mmd(x, y), rel=1e-9)


def test_unbiased(rng: np.random.Generator) -> None:
    """For two sets of one distribution the mean over draws is 0 within its own error."""
    found = [squared_mmd(*rng.normal(size=(2, 30, 4))) for _ in range(400)]
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found)) < 4 * error
    assert min(found) < 0


def test_seeded(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(300, 5)), rng.normal(1, 1, size=(200, 5))
    asked = {"real": real, "generated": generated, "subsets": 5, "subset_size": 50}
    first = rm.kernel_distance(**asked, seed=1)
    assert first == rm.kernel_distance(**asked, seed=1)
    assert first != rm.kernel_distance(**asked, seed=2)
    assert first.mean > 5 * first.std > 0


def test_too_few_samples_are_an_error_not_a_number(rng: np.random.Generator) -> None:
    with pytest.raises(NotEnoughData, match=r"1000.*200 generated"):
        rm.kernel_distance(real=rng.normal(size=(1000, 3)), generated=rng.normal(size=(200, 3)))
