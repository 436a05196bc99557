"""Seeds as users write them."""

from __future__ import annotations

import pytest

from raymetrics.errors import RaymetricsError
from raymetrics.studies.seeds import as_seeds, format_seeds, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds", "formatted"),
    [
        ("3", [0, 1, 2], "0-2"),
        ("0,5,7", [0, 5, 7], "0,5,7"),
        ("7-7", [7], "7"),
        ("9, 3-4,3", [3, 4, 9], "3-4,9"),
    ],
)
def test_a_count_or_a_list(text: str, seeds: list[int], formatted: str) -> None:
    assert parse_seeds(text) == as_seeds(seeds) == seeds
    assert format_seeds(seeds) == formatted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "0 seeds; expected 1 to 10000"),
        ("10001", "10001 seeds"),
        ("5,10000", "seed 10000; expected seeds from 0 to 9999"),
        ("0-999999999999", "seed 999999999999"),
        ("-1", "expected how many, e.g. 5, or which ones"),
        ("a,b", "seeds 'a,b': expected"),
    ],
)
def test_seeds_that_are_none(text: str, message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        parse_seeds(text)


def test_no_seeds() -> None:
    with pytest.raises(RaymetricsError, match="no seeds"):
        as_seeds([])
    with pytest.raises(RaymetricsError, match="seed -1"):
        as_seeds([-1, 3])
