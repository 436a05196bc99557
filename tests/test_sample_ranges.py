"""Ranges of sample ids, as sets of integers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics import sample_ranges
from raymetrics.errors import SampleRangeError
from raymetrics.shards.shard_files import shard_name, shard_range

some_ranges = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda p: range(p[0], p[0] + p[1])),
    max_size=6,
)


def ids(parts: list[range]) -> set[int]:
    return {i for part in parts for i in part}


@given(some_ranges, some_ranges)
def test_union_and_subtract_are_those_of_sets(a: list[range], b: list[range]) -> None:
    joined, left = sample_ranges.union(a + b), sample_ranges.subtract(a, b)
    assert ids(joined) == ids(a) | ids(b)
    assert ids(left) == ids(a) - ids(b)
    for parts in (joined, left):
        assert sample_ranges.count_ids(parts) == len(ids(parts))
        assert parts == sorted(parts, key=lambda r: r.start)
    assert all(x.stop < y.start for x, y in itertools.pairwise(joined))


@given(st.integers(0, 500), st.integers(1, 500), st.integers(1, 60))
def test_cut_at_the_multiples(start: int, length: int, size: int) -> None:
    whole = range(start, start + length)
    parts = sample_ranges.split_at_multiples(whole, size)
    assert [i for part in parts for i in part] == list(whole)
    assert all(part.start // size == (part.stop - 1) // size for part in parts)


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_words(first: int, more: int) -> None:
    text = f"{first}-{first + more}"
    assert sample_ranges.format_range(sample_ranges.parse_range(text)) == text
    assert len(sample_ranges.parse_range(text)) == more + 1


@pytest.mark.parametrize(
    ("text", "what"),
    [("5-3", "5-3.*write it as 3-5"), ("", "first-last"), ("7", "first-last"),
     ("a-b", "first-last"), ("-5-3", "first-last"), ("1.5-3", "first-last"),
     ("0-1000000000000", "beyond 999999999999, the last"), (f"0-{'9' * 5000}", "beyond")],
)  # fmt: skip
def test_nonsense(text: str, what: str) -> None:
    with pytest.raises(SampleRangeError, match=what):
        sample_ranges.parse_range(text)


@given(some_ranges.filter(any))
def test_ids_by_their_places(parts: list[range]) -> None:
    written = [i for part in parts for i in part]
    assert [sample_ranges.id_at(parts, place) for place in range(len(written))] == written
    with pytest.raises(IndexError, match="beyond"):
        sample_ranges.id_at(parts, len(written))


def test_the_last_id_has_a_name() -> None:
    """A shard of it is found again by its name."""
    ids = sample_ranges.parse_range(f"{sample_ranges.LAST_ID}-{sample_ranges.LAST_ID}")
    assert shard_range(shard_name(ids)) == ids
    assert shard_range(shard_name(range(ids.start, ids.stop + 1))) is None


def test_ranges_stay_in_the_order_of_the_text() -> None:
    ranges = sample_ranges.parse_ranges(" 540,107, 8-9,107")
    assert ranges == [range(540, 541), range(107, 108), range(8, 10), range(107, 108)]
    assert sample_ranges.parse_ids("540,107, 8-9,107") == (*sorted(ranges[:3], key=min),)
    texts = [sample_ranges.format_id_or_range(ids) for ids in ranges]
    assert texts == ["540", "107", "8-9", "107"]
