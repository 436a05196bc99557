"""Other sets with the same histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics.attacks.stratified import stratified_positions
from raymetrics.errors import NotEnoughData


@given(st.lists(st.integers(0, 4), max_size=60), st.randoms(use_true_random=False), st.integers(0))
def test_it_has_the_histogram_and_no_sample_twice(
    drawn: list[int], random: object, seed: int
) -> None:
    classes = np.array(drawn, np.int64)
    there = np.bincount(classes, minlength=6)
    counts = np.array([random.randint(0, int(c)) for c in there])  # type: ignore[attr-defined]
    chosen = stratified_positions(classes, counts, seed)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(np.bincount(classes[chosen], minlength=6), counts)
    np.testing.assert_array_equal(chosen, stratified_positions(classes, counts, seed))


def test_every_sample_of_a_class_is_as_likely() -> None:
    classes = np.array([0, 1, 0, 1, 0, 1, 0])
    taken = np.zeros(7)
    for seed in range(600):
        taken[stratified_positions(classes, np.array([1, 2]), seed)] += 1
    # 600 draws of 1 in 4, and of 2 in 3: within four deviations.
    np.testing.assert_allclose(taken[classes == 0], 150, atol=4 * np.sqrt(600 * 3 / 16))
    np.testing.assert_allclose(taken[classes == 1], 400, atol=4 * np.sqrt(600 * 2 / 9))


def test_too_few_of_a_class() -> None:
    with pytest.raises(NotEnoughData, match="1 samples of class 1 were drawn, 2 are asked for"):
        stratified_positions(np.array([0, 1, 0]), np.array([1, 2]), 0)
