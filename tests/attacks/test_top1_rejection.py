"""Rejection against a loop of ten lines, targets and bounds against their laws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from raymetrics.attacks.top1_rejection import (
    Matcher,
    describe_unfilled,
    expected_draws,
    match_top1,
    rate_bound,
    stratified_positions,
    target_counts,
)
from raymetrics.errors import NotEnoughData, SampleRangeError

counts = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)


def loop(targets: list[int], classes: list[int], max_draws: int) -> tuple[list[int], list[int]]:
    """The oracle: accepted positions, and the draws by class."""
    filled, drawn, accepted = [0] * len(targets), [0] * len(targets), []
    for position, c in enumerate(classes[:max_draws]):
        if filled == targets:
            break
        drawn[c] += 1
        if filled[c] < targets[c]:
            filled[c] += 1
            accepted.append(position)
    return accepted, drawn


@given(st.data(), st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_any_partition_gives_what_the_loop_does(data: st.DataObject, targets: list[int]) -> None:
    classes = data.draw(st.lists(st.integers(0, len(targets) - 1), max_size=60))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(classes)), max_size=6)))
    max_draws = data.draw(st.integers(1, 70))
    expected, drawn = loop(targets, classes, max_draws)
    matcher = Matcher(np.array(targets), max_draws)
    blocks = np.split(np.array(classes, np.int64), cuts)
    accepted = np.concatenate([matcher.accept(block) for block in blocks])
    assert np.flatnonzero(accepted).tolist() == expected
    assert matcher.drawn_counts.tolist() == drawn
    assert matcher.accepted_counts.sum() == len(expected)
    assert matcher.is_full == (len(expected) == sum(targets))


@given(counts, st.integers(1, 200))
def test_targets_are_the_nearest_whole_numbers_of_that_sum(real: list[int], n: int) -> None:
    targets = target_counts(np.array(real), n)
    assert targets.sum() == n
    assert not targets[np.array(real) == 0].any()
    assert (np.abs(targets - np.array(real) * n / sum(real)) < 1).all()
    assert target_counts(np.array(real), sum(real)).tolist() == real


def test_largest_remainders_and_the_first_class_of_equal_ones() -> None:
    assert target_counts(np.array([1, 1, 2]), 2).tolist() == [1, 0, 1]
    assert target_counts(np.array([47, 16, 15, 12, 7, 3]), 10).tolist() == [5, 2, 1, 1, 1, 0]
    large = target_counts(np.full(1000, 2_000_000_000), 50_000)
    assert (large == 50).all()
    with pytest.raises(SampleRangeError, match="0 samples are asked for"):
        target_counts(np.array([1]), 0)
    with pytest.raises(NotEnoughData, match="no real samples"):
        target_counts(np.zeros(3, np.int64), 5)


def test_match_top1_takes_no_more_than_it_needs() -> None:
    taken = []

    def one_by_one() -> Iterator[int]:
        for position in range(10**9):
            taken.append(position)
            yield position % 3

    accepted = match_top1(target_counts=np.array([2, 0, 1]), classes=one_by_one())
    assert accepted.tolist() == [0, 2, 3]
    assert taken == [0, 1, 2, 3]
    taken.clear()
    with pytest.raises(NotEnoughData, match="after 3 draws"):
        match_top1(target_counts=np.array([9, 9, 9]), classes=one_by_one(), max_draws=3)
    assert taken == [0, 1, 2]


@given(st.data(), st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any))
def test_single_ids_and_arrays_are_decided_alike(data: st.DataObject, targets: list[int]) -> None:
    drawn = data.draw(st.lists(st.integers(0, len(targets) - 1), max_size=60))
    classes = np.array([*drawn, *np.repeat(np.arange(len(targets)), targets)])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(classes)), max_size=6)))
    arrays = np.split(classes, cuts)
    mixed = [x for i, part in enumerate(arrays) for x in (part.tolist() if i % 2 else [part])]
    expected, _ = loop(targets, classes.tolist(), len(classes))
    for given_as in (classes, classes.tolist(), arrays, iter(arrays), mixed, iter(classes)):
        found = match_top1(target_counts=np.array(targets), classes=given_as)
        assert (found.dtype, found.tolist()) == (np.int64, expected)


def test_bins_that_stay_empty_are_told() -> None:
    with pytest.raises(NotEnoughData, match=r"1 of 2 classes .* after 59 draws: class 2 has 0 of 4 "
                       r"\(rate below 0\.05, 95 % confidence\)"):  # fmt: skip
        match_top1(target_counts=np.array([1, 0, 4]), classes=np.zeros(70, int), max_draws=59)
    matcher = Matcher(np.array([3, 0, 4]))
    matcher.accept(np.array([2, 2, 1, 1]))
    assert describe_unfilled(matcher, ["cat", "dog", "owl"]) == (
        "class 0 'cat' has 0 of 3 (rate below 0.53, 95 % confidence), class 2 'owl' has 2 of 4"
    )
    assert describe_unfilled(matcher, limit=1).endswith(", and 1 more")


def test_classes_that_are_none() -> None:
    strange = {"class 7": np.array([0, 7]), "class -1": np.array([-1]),
               "float64": np.array([0.5]), r"\[2, 2\]": np.zeros((2, 2), int)}  # fmt: skip
    for word, classes in strange.items():
        with pytest.raises(SampleRangeError, match=word):
            Matcher(np.array([5, 5])).accept(classes)
        if classes.ndim == 1:
            with pytest.raises(SampleRangeError, match=word):
                match_top1(target_counts=np.array([5, 5]), classes=classes.tolist())


@given(st.integers(0, 30), st.integers(31, 3000), st.sampled_from([0.9, 0.95, 0.99]))
def test_the_bound_is_clopper_and_pearsons(seen: int, draws: int, confidence: float) -> None:
    bound = rate_bound(draws, seen, confidence)
    assert binom.cdf(seen, draws, bound) == pytest.approx(1 - confidence, rel=1e-6)
    assert rate_bound(draws) == pytest.approx(1 - 0.05 ** (1 / draws), rel=1e-9)


def test_the_bound_of_what_was_always_seen() -> None:
    assert rate_bound(0) == rate_bound(5, 5) == 1.0


def test_expected_draws_follow_the_rates() -> None:
    matcher = Matcher(np.array([10, 30, 5, 0]))
    assert expected_draws(matcher).tolist() == [np.inf, np.inf, np.inf, 0]
    matcher.accept(np.repeat([0, 1, 3], [20, 10, 10]))
    assert expected_draws(matcher).tolist() == [0, 20 / (10 / 40), np.inf, 0]


@given(st.lists(st.integers(0, 4), max_size=60), st.randoms(use_true_random=False), st.integers(0))
def test_stratified_positions_have_the_histogram_and_no_sample_twice(
    drawn: list[int], random: object, seed: int
) -> None:
    classes = np.array(drawn, np.int64)
    available = np.bincount(classes, minlength=6)
    counts = np.array([random.randint(0, int(c)) for c in available])  # type: ignore[attr-defined]
    chosen = stratified_positions(classes, counts, seed)
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(np.bincount(classes[chosen], minlength=6), counts)
    np.testing.assert_array_equal(chosen, stratified_positions(classes, counts, seed))


def test_stratified_positions_are_uniform_within_a_class() -> None:
    classes = np.array([0, 1, 0, 1, 0, 1, 0])
    taken = np.zeros(7)
    for seed in range(600):
        taken[stratified_positions(classes, np.array([1, 2]), seed)] += 1
    # 600 draws of 1 in 4, and of 2 in 3: within four deviations.
    np.testing.assert_allclose(taken[classes == 0], 150, atol=4 * np.sqrt(600 * 3 / 16))
    np.testing.assert_allclose(taken[classes == 1], 400, atol=4 * np.sqrt(600 * 2 / 9))


def test_stratified_positions_of_too_few_samples() -> None:
    with pytest.raises(NotEnoughData, match="1 samples of class 1 were drawn, 2 are asked for"):
        stratified_positions(np.array([0, 1, 0]), np.array([1, 2]), 0)
