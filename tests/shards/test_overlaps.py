"""Several who write one set at once, in every order of their steps: it ends whole and sealed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pytest

from raymetrics import ranges
from raymetrics.shards import schema
from raymetrics.shards.layout import MANIFEST, DatasetSpec
from raymetrics.shards.listing import files_of, shard_name
from raymetrics.shards.overlaps import join_overlapping, overlapping
from raymetrics.shards.reader import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writer import commit, seal
from raymetrics.streaming.account import Account
from raymetrics.streaming.begun import Begun
from raymetrics.streaming.pools import Sizes
from raymetrics.streaming.spent import Spent
from raymetrics.streaming.stream import Made

ROWS = 16
COLUMNS = schema.columns_of("made-up", {"pre_logits": 2})
NAME = COLUMNS[0].name
STEPS = ("names", "read", "create", "replace", "remove", "open")  # of a store
SPEC = DatasetSpec(
    source="numbers",
    generator={"name": "numbers"},
    extractors=[{"name": "made-up", "resize": "none"}],
    columns=COLUMNS,
    class_names={},
    labels=False,
    shard_rows=ROWS,
    samples=(range(1),),
    asked=("made-up",),
)


def table(ids: range):
    sample_ids = np.arange(ids.start, ids.stop)
    return schema.to_table(COLUMNS, sample_ids, None, {NAME: values(sample_ids)})


def values(sample_ids: np.ndarray) -> np.ndarray:
    return np.stack([sample_ids, sample_ids**2], axis=1).astype(np.float32)


def extract(uri: str, samples: range, at: Callable[[str], None] = lambda _: None) -> ShardSet:
    """What an extraction does to a set, without Ray."""
    begun = Begun.of(Store(uri), replace(SPEC, samples=(samples,)), "", Sizes(0, 0), 0)
    for ids in begun.todo:
        at(f"before {ids}")
        written = commit(begun.store, table(ids), begun.spec.fingerprint)
        begun.add(Made(Account(0, ids.start, len(ids), device="cpu"), written > 0))
    at("before the end")
    return begun.finished(Spent()).shards


def require_whole(uri: str, asked: list[range]) -> None:
    """The set is sealed, has what was asked for with the right values, and no shards overlap."""
    shards = open_shards(uri)
    assert shards.seal is not None
    assert shards.missing == []
    assert list(shards.spec.samples) == ranges.union(asked)
    ids = View.of(shards).sample_ids
    np.testing.assert_array_equal(shards.read(NAME), values(ids))
    assert set().union(*asked) == set(ids.tolist())
    assert overlapping(files_of(shards.store.names())) == []
    shards.verify()


class Turns:
    """One thread works at a time; who goes on after each step is drawn."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.gates: dict[int, threading.Semaphore] = {}
        self.failures: list[BaseException] = []

    def step(self) -> None:
        """Hands the turn to somebody, and waits for the next one."""
        mine = self.gates.get(threading.get_ident())
        if mine is not None:
            self.pass_on()
            mine.acquire()

    def pass_on(self) -> None:
        if self.gates:
            self.draw.choice(list(self.gates.values())).release()

    def run(self, *works: Callable[[], object]) -> None:
        """All of them, step by step."""
        ready = threading.Barrier(len(works) + 1)
        threads = [threading.Thread(target=self._work, args=(work, ready)) for work in works]
        for thread in threads:
            thread.start()
        ready.wait()
        self.pass_on()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _work(self, work: Callable[[], object], ready: threading.Barrier) -> None:
        gate = self.gates.setdefault(threading.get_ident(), threading.Semaphore(0))
        ready.wait()
        gate.acquire()
        try:
            work()
        except BaseException as error:
            self.failures.append(error)
        del self.gates[threading.get_ident()]
        self.pass_on()


@pytest.fixture
def memory() -> Iterator[str]:
    uri = "memory://overlaps"
    yield uri
    fsspec.filesystem("memory").store.clear()


def drawn_ranges(draw: random.Random) -> list[range]:
    """Some that touch or overlap."""
    firsts = [draw.randrange(0, 40) for _ in range(draw.randint(2, 4))]
    return [range(first, first + draw.randint(1, 40)) for first in firsts]


@pytest.mark.parametrize("seed", range(300))
def test_any_order_of_steps_ends_whole_and_sealed(memory, monkeypatch, seed) -> None:
    turns, asked = Turns(seed), drawn_ranges(random.Random(seed))
    for name in STEPS:
        plain = getattr(Store, name)

        def stepwise(self: Store, *arguments: object, plain=plain):
            # In Python 3.11 a cached property, such as the manifest, lets one thread in at a time.
            if arguments != (MANIFEST,):
                turns.step()
            return plain(self, *arguments)

        monkeypatch.setattr(Store, name, stepwise)
    turns.run(*(lambda ids=ids: extract(f"{memory}/{seed}", ids) for ids in asked))
    require_whole(f"{memory}/{seed}", asked)
