"""Which shards are there: overlaps, listings that are late, and two who extend a set at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics.errors import SpecMismatch
from raymetrics.shards import layout
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_files import containing_shard, present_ranges, shard_name, shard_ranges
from raymetrics.shards.store import Store
from tests.conftest import write_set


@pytest.fixture
def store() -> Iterator[Store]:
    fs = fsspec.filesystem("memory")
    yield Store("memory://of-listings/set")
    fs.rm("/of-listings", recursive=True)


@pytest.fixture
def spec(store: Store) -> DatasetSpec:
    """Of a sealed set of 100 samples: shards 0-39, 40-79, 80-99."""
    features = np.zeros((100, 2), np.float32)
    return write_set(store.uri, {"pre_logits": features}, shard_rows=40).spec


def names(*ids: range) -> list[str]:
    return [shard_name(one) for one in ids]


def test_a_shard_inside_another_one_is_left_out() -> None:
    short, long = range(80, 100), range(80, 120)
    assert shard_ranges(names(short, range(40), long)) == [range(40), long]
    both = names(range(80, 100), range(100, 120), long, range(120, 160))
    assert shard_ranges(both) == [long, range(120, 160)]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=12))
def test_every_sample_is_in_one_piece_and_every_piece_in_a_shard(shards) -> None:
    files = [range(start, start + rows) for start, rows in shards]
    pieces = shard_ranges(names(*files))
    assert [s for piece in pieces for s in piece] == sorted(set().union(*files))
    for piece in pieces:
        holds = containing_shard(piece, names(*files))
        assert holds in files
        assert set(piece) <= set(holds)


def hide(monkeypatch: pytest.MonkeyPatch, store: Store, *hidden: range) -> None:
    """The store's listings are late: they lack these shards."""
    lists = Store.names
    late = set(names(*hidden))

    def listed(self: Store) -> dict[str, int]:
        return {name: size for name, size in lists(self).items() if name not in late}

    monkeypatch.setattr(Store, "names", listed)
    assert len(store.names()) == 5 - len(hidden)


def test_what_is_not_listed_is_asked_for_by_name(store, spec, monkeypatch) -> None:
    there = [range(40), range(40, 80), range(80, 100)]
    hide(monkeypatch, store, range(40, 80), range(80, 100))
    assert shard_ranges(store.names()) == [range(40)]
    assert present_ranges(store, store.names(), spec.samples, 40) == there
    # The short shard at the end of the set as it was is found by the seal, or by the old end.
    assert present_ranges(store, store.names(), [range(120)], 40) == there
    store.remove(layout.MANIFEST)
    assert present_ranges(store, store.names(), [range(120)], 40) == there[:2]
    assert present_ranges(store, store.names(), [range(100), range(120)], 40) == there


def test_nothing_is_asked_for_if_all_is_listed(store, spec, monkeypatch) -> None:
    monkeypatch.setattr(Store, "find_existing", None)
    assert len(present_ranges(store, store.names(), spec.samples, 40)) == 3


def test_a_damaged_seal_promises_nothing(store, spec) -> None:
    for damaged in (b"{", b"[]", b'{"shards": 3}', b'{"shards": {"../x": 1}}'):
        store.replace(layout.MANIFEST, damaged)
        assert len(present_ranges(store, store.names(), [range(120)], 40)) == 3


def test_a_set_that_is_not_listed_does_not_give_way(store, spec, monkeypatch) -> None:
    hide(monkeypatch, store, range(40), range(40, 80), range(80, 100))
    with pytest.raises(SpecMismatch, match="made from something else"):
        layout.create_or_extend_spec(store, replace(spec, generator={"name": "other"}))
    grown, present = layout.open_for_writing(
        store, replace(spec, samples=(range(90, 130),), shard_rows=7)
    )
    assert (grown.samples, grown.shard_rows) == ((range(130),), 40)
    assert present == [range(40), range(40, 80), range(80, 100)]
    assert layout.missing_shards(grown, present, [range(130)]) == [range(100, 120), range(120, 130)]


def test_two_begin_a_set_at_once(store, spec) -> None:
    """Nothing is there yet when the second one comes: it cuts as the first one does."""
    for name in store.names():
        store.remove(name)
    first = layout.create_or_extend_spec(store, replace(spec, samples=(range(100),)))
    second = layout.create_or_extend_spec(
        store, replace(spec, samples=(range(60, 150),), shard_rows=30)
    )
    assert second.shard_rows == first.shard_rows == 40
    # Both are done: each brings what it wanted.
    layout.add_samples(store, first, ())
    assert layout.add_samples(store, second, ()).samples == (range(150),)
    assert layout.read_spec(store) == layout.add_samples(store, first, ())


def test_two_write_the_specification_at_once(store, spec, monkeypatch) -> None:
    """The other one writes over ours between our look and our write."""
    ours, theirs = replace(spec, samples=(range(120),)), replace(spec, samples=(range(100, 160),))
    writes = Store.replace

    def late(self: Store, name: str, data: bytes) -> None:
        monkeypatch.setattr(Store, "replace", writes)
        writes(self, name, data)
        writes(self, name, theirs.to_json())

    monkeypatch.setattr(Store, "replace", late)
    assert layout.create_or_extend_spec(store, ours).samples == (range(160),)
    found = layout.read_spec(store)
    assert found is not None
    assert found.samples == (range(160),)


def test_a_set_that_became_another_one_is_not_written_over(store, spec) -> None:
    other = replace(spec, generator={"name": "other"})
    store.replace(layout.DATASET, other.to_json())
    with pytest.raises(SpecMismatch):
        layout.add_samples(store, replace(spec, samples=(range(200),)), ())
    assert layout.read_spec(store) == other
