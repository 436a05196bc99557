"""How often a command lists a shard set: an object store takes a request per 1,000 files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import raymetrics as rm
from raymetrics.distributed.extraction.dry_run import plan_extraction
from raymetrics.distributed.extraction.extract import ExtractRequest, extract_many
from raymetrics.distributed.session import session
from tests.conftest import write_set

REAL, GENERATED = "memory://listings/real", "memory://listings/generated"


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Counts the listings of every prefix of the store in memory."""
    counted: Counter[str] = Counter()
    ls = MemoryFileSystem.ls

    def counting_ls(fs: MemoryFileSystem, path: str, *args: Any, **options: Any) -> Any:
        counted[path] += 1
        return ls(fs, path, *args, **options)

    monkeypatch.setattr(MemoryFileSystem, "ls", counting_ls)
    with session(local=True):
        yield counted
    MemoryFileSystem.store.clear()


def extract(samples: str, to: str = GENERATED) -> rm.Extraction:
    return rm.extract("digits", ["digits"], to, samples, shard_rows=20)


def test_extract_lists_a_set_twice(listings: Counter[str]) -> None:
    begun = extract("0-59")
    assert begun.shards.seal is not None
    assert listings.pop("/listings/generated") <= 2
    assert extract("0-59").shards_made == 0
    assert listings.pop("/listings/generated") <= 2
    extended = extract("0-99")
    assert extended.shards_made == 2
    assert extended.shards.seal is not None
    assert listings.pop("/listings/generated") <= 2
    assert rm.open_shards(GENERATED).seal is not None


def test_every_set_of_several_is_listed_twice(listings: Counter[str]) -> None:
    requests = [ExtractRequest(uri, "digits", "0-39") for uri in (REAL, GENERATED)]
    extract_many(requests, ["digits"], shard_rows=20)
    assert set(listings) == {"/listings/real", "/listings/generated"}
    assert max(listings.values()) <= 2


def test_a_dry_run_lists_a_set_once(listings: Counter[str]) -> None:
    extract("0-39")
    listings.clear()
    plan = plan_extraction("digits", ["digits"], GENERATED, "0-99", shard_rows=20)
    assert (plan.shards_present, plan.shards_to_make) == (2, 3)
    assert listings["/listings/generated"] == 1


@pytest.mark.parametrize("by", [None, "label"])
def test_evaluate_lists_either_set_once(
    listings: Counter[str], rng: np.random.Generator, by: str | None
) -> None:
    for uri in (REAL, GENERATED):
        features = {"pre_logits": rng.normal(size=(60, 4)).astype(np.float32)}
        write_set(uri, features, shard_rows=20, labels=np.arange(60) % 3)
    listings.clear()
    assert rm.evaluate(real=REAL, generated=GENERATED, metrics=["fid", "pr"], by=by)
    assert dict(listings) == {"/listings/real": 1, "/listings/generated": 1}


def test_match_lists_what_it_draws_into_twice(listings: Counter[str], tmp_path: Path) -> None:
    extract("0-39", REAL)
    listings.clear()
    rm.match(
        real=REAL, generated="digits", to=str(tmp_path / "match"), shards=GENERATED, n=20,
        max_draws=60, shard_rows=20,
    )  # fmt: skip
    assert listings["/listings/generated"] <= 2
    assert listings["/listings/real"] == 1
