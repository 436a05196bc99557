"""What is matched, against a sort of one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from raymetrics.attacks import MatchTarget, NonzeroColumns, match_arrays, shared_columns
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from tests.helpers.statistic_laws import assert_laws

TEXTS = ["pre_logits", "logits", "probabilities", "top_n:1", "top_n:12", "middle_n:3"]


@pytest.mark.parametrize("text", TEXTS)
def test_text_there_and_back(text: str) -> None:
    match = MatchTarget.parse(text)
    assert str(match) == text
    assert match.output == ("pre_logits" if text == "pre_logits" else "logits")
    assert match.learning_rate == (10 if text == "pre_logits" else 5)


@pytest.mark.parametrize(
    "text", ["", "top_n", "top_n:", "top_n:0", "top_n:-1", "top_n:1.5", "top_n:05", "logits:3", "x"]
)
def test_other_texts_are_refused_with_the_choices(text: str) -> None:
    with pytest.raises(RaymetricsError, match=r"pre_logits, logits, .* middle_n:N"):
        MatchTarget.parse(text)


@given(st.integers(0, 1000), st.integers(2, 30), st.data())
@settings(deadline=None)
def test_marks_by_a_sort_of_each_row(seed: int, classes: int, data: st.DataObject) -> None:
    """Logits with ties: of equal ones the first class comes first."""
    n = data.draw(st.integers(1, classes // 2))
    logits = np.random.default_rng(seed).integers(0, 9, size=(5, classes)).astype(np.float32)
    half = classes // 2
    middle = (
        range(half - n // 2, half + n // 2)
        if n % 2 == 0
        else range(half - (n - 1) // 2, half + (n + 1) // 2)
    )
    for kind, places in (("top_n", range(n)), ("middle_n", middle)):
        expected = np.zeros((5, classes), np.float32)
        for row, values in enumerate(logits):
            order = sorted(range(classes), key=lambda c: (-values[c], c))
            expected[row, [order[place] for place in places]] = 1
        found = MatchTarget.parse(f"{kind}:{n}").transform(logits)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("n", "first", "last"), [(1, 504, 504), (2, 503, 504), (5, 502, 506)])
def test_the_middle_of_inception_s_1008_classes(n: int, first: int, last: int) -> None:
    falling = -np.arange(1008.0)[None]
    found = np.flatnonzero(MatchTarget.parse(f"middle_n:{n}").transform(falling)[0])
    assert (found[0], found[-1], len(found)) == (first, last, n)


def test_more_than_half_of_the_classes() -> None:
    logits = np.zeros((2, 10))
    assert MatchTarget.parse("top_n:5").transform(logits).sum() == 10
    for kind in ("top_n", "middle_n"):
        with pytest.raises(ShardError, match=rf"{kind}:6 marks more than half of 10.*5 at most"):
            MatchTarget.parse(f"{kind}:6").transform(logits)


def test_probabilities_are_a_softmax(rng: np.random.Generator) -> None:
    logits = (rng.normal(size=(20, 7)) * 300).astype(np.float32)
    found = MatchTarget.parse("probabilities").transform(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, softmax(logits.astype(np.float64), axis=1), rtol=1e-6, atol=1e-37
    )
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("text", TEXTS)
def test_block_by_block_is_all_at_once(rng: np.random.Generator, text: str) -> None:
    match = MatchTarget.parse(text)
    real, generated = rng.normal(size=(30, 40)), rng.normal(size=(50, 40))
    sides = []
    for side in (real, generated):
        parts = [
            NonzeroColumns.from_samples(match.transform(side[i : i + 7]))
            for i in range(0, len(side), 7)
        ]
        merged = NonzeroColumns.empty(40)
        for part in parts:
            merged = merged.merge(part)
        sides.append(merged)
    columns = shared_columns(match, real=sides[0], generated=sides[1])
    whole = match_arrays(match, real=real, generated=generated)
    for side, expected in zip((real, generated), whole, strict=True):
        blocks = [match.transform(side[i : i + 7], columns) for i in range(0, len(side), 7)]
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


@given(st.lists(st.integers(0, 20), max_size=5), st.permutations(range(6)))
@settings(deadline=None)
def test_occurring_is_a_statistic(cuts: list[int], order: list[int]) -> None:
    marks = MatchTarget.parse("top_n:2").transform(np.random.default_rng(0).normal(size=(20, 30)))
    assert_laws(
        NonzeroColumns.empty(30),
        lambda rows: NonzeroColumns.from_samples(marks[list(rows)]),
        20,
        cuts,
        [i for i in order if i <= len(cuts)],
    )
    with pytest.raises(ValueError, match="30 and 4"):
        NonzeroColumns.empty(30).merge(NonzeroColumns.empty(4))


def test_classes_of_one_side_alone_are_left_out() -> None:
    """Of 4 classes, real samples have 0 and 1, generated ones 1 and 2."""
    real, generated = np.eye(4)[[0, 1, 1]], np.eye(4)[[1, 2]]
    a, b = match_arrays(MatchTarget.parse("top_n:1"), real=real, generated=generated)
    np.testing.assert_array_equal(a, [[0], [1], [1]])
    np.testing.assert_array_equal(b, [[1], [0]])
    with pytest.raises(NotEnoughData, match="no class that top_n:1 marks occurs on both sides"):
        match_arrays(MatchTarget.parse("top_n:1"), real=real[:1], generated=generated)


def test_columns_of_zeros_stay_in_features() -> None:
    """They are part of the Frechet distance of the whole output."""
    real, generated = np.array([[0.0, 1.0]]), np.array([[2.0, 0.0]])
    for text in ("pre_logits", "logits"):
        a, b = match_arrays(MatchTarget.parse(text), real=real, generated=generated)
        np.testing.assert_array_equal(a, real)
        np.testing.assert_array_equal(b, generated)
