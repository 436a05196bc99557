"""Views: some samples of a shard set, read as if there were no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.shards.layout import shard_name
from raymetrics.shards.open_view import open_view
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import View
from tests.conftest import write_set

NAME = "made_up_pre_logits"
GAPS = (range(50), range(100, 200), range(225, 250))  # in shards of 25 rows


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(250, 3)).astype(np.float32)


@pytest.fixture
def whole(tmp_path: Path, features: np.ndarray) -> ShardSet:
    labels = np.arange(250) % 7
    return write_set(str(tmp_path / "set"), {"pre_logits": features}, labels=labels, shard_rows=25)


@pytest.fixture
def gaps(whole: ShardSet) -> ShardSet:
    """The set without three of its parts."""
    for shard in whole.present:
        if not any(shard.start in part for part in GAPS):
            (Path(whole.uri) / shard_name(shard)).unlink()
    return open_shards(whole.uri)


def test_all_samples(whole: ShardSet, features: np.ndarray) -> None:
    view = View.from_shards(whole)
    assert view.samples == (range(250),)
    assert len(view) == 250
    assert view.present == list(whole.present)
    np.testing.assert_array_equal(view.read(NAME), features)
    np.testing.assert_array_equal(view.labels(), np.arange(250) % 7)


# Nothing, a part of a shard, whole shards, over one gap and over both, everything, and more.
@pytest.mark.parametrize("count", [0, 10, 25, 50, 60, 149, 150, 151, 175, 1000])
def test_the_first_samples_over_gaps(gaps: ShardSet, features: np.ndarray, count: int) -> None:
    there = np.concatenate([np.arange(part.start, part.stop) for part in GAPS])
    ids = there[:count]
    view = View.from_shards(gaps, count)
    assert len(view) == len(ids)
    np.testing.assert_array_equal(view.sample_ids, ids)
    assert view.sample_ids.dtype == np.int64
    assert [n for n in map(view.count, view.present) if n == 0] == []
    assert sum(map(view.count, view.present)) == len(ids)
    found = view.read(NAME)
    np.testing.assert_array_equal(found, features[ids])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(view.labels(), ids % 7)


def test_blocks_and_groups_of_any_samples(gaps: ShardSet, features: np.ndarray) -> None:
    view = View(gaps, (range(3, 20), range(22, 24), range(110, 160), range(240, 241)))
    first = view.block(gaps.present[0], [NAME, "label"])
    ids = np.array([*range(3, 20), 22, 23])
    np.testing.assert_array_equal(first["sample_id"], ids)
    np.testing.assert_array_equal(first[NAME], features[ids])
    np.testing.assert_array_equal(first["label"], ids % 7)
    assert range(25, 50) not in view.present
    group = view.present[1:3]
    np.testing.assert_array_equal(view.read(NAME, group), features[110:150])
    np.testing.assert_array_equal(
        np.concatenate([view.read(NAME, [shard]) for shard in view.present]), view.read(NAME)
    )


def test_a_digest_is_of_the_samples(whole: ShardSet, tmp_path: Path, features: np.ndarray) -> None:
    digests = [
        View.from_shards(whole, count).digest() for count in (0, 1, 24, 25, 26, 50, 249, 250)
    ]
    assert len(set(digests)) == len(digests)
    shifted = View(whole, (range(1, 25),)).digest()
    assert shifted not in digests  # as many, of the same shard
    again = write_set(
        str(tmp_path / "again"),
        {"pre_logits": features},
        labels=np.arange(250) % 7,
        shard_rows=25,
    )
    for count in (24, 25, 250):
        assert View.from_shards(again, count).digest() == View.from_shards(whole, count).digest()
    assert (
        View.from_shards(again).digest()
        == View.from_shards(again, 250).digest()
        == View.from_shards(again, 999).digest()
    )


def test_a_digest_is_of_the_values(tmp_path: Path, whole: ShardSet, features: np.ndarray) -> None:
    changed = features.copy()
    changed[40, 1] += 1
    other = write_set(
        str(tmp_path / "other"),
        {"pre_logits": changed},
        labels=np.arange(250) % 7,
        shard_rows=25,
    )
    assert View.from_shards(other, 25).digest() == View.from_shards(whole, 25).digest()
    assert View.from_shards(other, 50).digest() != View.from_shards(whole, 50).digest()


def test_a_digest_of_a_group(whole: ShardSet) -> None:
    """Whole shards have the same digest in every view of them, so that what was found of them
    is found again."""
    all_of, some = View.from_shards(whole), View.from_shards(whole, 60)
    groups = [whole.present[:2], whole.present[2:3]]
    assert all_of.digest(groups[0]) == some.digest(groups[0])
    assert all_of.digest(groups[1]) != some.digest(groups[1])
    assert some.digest(groups[1]) != View.from_shards(whole, 61).digest(groups[1])
    assert len({all_of.digest([shard]) for shard in whole.present}) == len(whole.present)


def test_a_set_without_labels(tmp_path: Path, features: np.ndarray) -> None:
    plain = write_set(str(tmp_path / "plain"), {"pre_logits": features})
    with pytest.raises(ShardError, match="has no labels; extract from a source that knows"):
        View.from_shards(plain, 10).labels()


def test_samples_at_random(whole: ShardSet, features: np.ndarray) -> None:
    chosen = open_view(f"{whole.uri}?random=60&seed=3")
    ids = np.sort(np.random.default_rng(3).choice(np.arange(250), 60, replace=False))
    np.testing.assert_array_equal(chosen.sample_ids, ids)
    np.testing.assert_array_equal(chosen.read(NAME), features[ids])
    assert chosen.samples.file == "60 of 250 at random, seed 3"
    other = open_view(f"{whole.uri}?random=60")
    assert other.digest() != chosen.digest()
    everything = open_view(f"{whole.uri}?random=250&seed=9")
    np.testing.assert_array_equal(everything.sample_ids, np.arange(250))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("random=251", NotEnoughData, "ask for 1 to 250"),
        ("random=0", NotEnoughData, "ask for 1 to 250"),
        ("random=ten", ShardError, "random is 'ten', expected a whole number"),
        ("random=5&seed=-1", ShardError, "seed is '-1', expected a whole number"),
        ("random=5&ids=x", ShardError, "has only the options"),
        ("first=5", ShardError, "has only the options"),
    ],
)
def test_random_choices_that_cannot_be_made(
    whole: ShardSet, options: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_view(f"{whole.uri}?{options}")
