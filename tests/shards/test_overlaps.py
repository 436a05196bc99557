"""Several who write one set at once, in any order of their steps: it ends whole and sealed, and
is read right at every moment."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pytest

from raymetrics.errors import ShardError
from raymetrics.reports.terminal import describe_shard_set
from raymetrics.shards.layout import DATASET, MANIFEST, create_or_extend_spec
from raymetrics.shards.overlaps import join_overlapping, overlapping_groups
from raymetrics.shards.shard_files import all_shard_ranges, shard_name
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writer import commit_shard
from tests.helpers import writers
from tests.helpers.writers import NAME, SPEC, draw_ranges, extend_set, require_whole, table, values

STEPS = ("names", "read", "create", "replace", "remove", "open")  # of a store


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


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_any_order_of_steps_ends_whole_and_sealed(memory, monkeypatch, first) -> None:
    for seed in range(first, first + 20):
        in_some_order(f"{memory}/{seed}", monkeypatch, seed)


@pytest.mark.slow
def test_many_more_orders_of_steps(memory, monkeypatch) -> None:
    for seed in range(60, 1000):
        in_some_order(f"{memory}/{seed}", monkeypatch, seed)


def in_some_order(uri: str, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Several write; who makes the next step is drawn."""
    turns, asked = Turns(seed), draw_ranges(random.Random(seed))
    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(Store, name, stepwise(getattr(Store, name), turns))
        turns.run(*(lambda ids=ids: extend_set(uri, ids) for ids in asked))
    require_whole(uri, asked)


def stepwise(step: Callable[..., object], turns: Turns) -> Callable[..., object]:
    def taken_in_turn(self: Store, *arguments: object) -> object:
        # In Python 3.11 a cached property, such as the manifest, lets one thread in at a time.
        if arguments != (MANIFEST,):
            turns.step()
        return step(self, *arguments)

    return taken_in_turn


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_processes_at_once_and_one_that_is_killed(tmp_path, kill) -> None:
    """One that was killed is run again; the others need nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.helpers.writers"])
    for seed in range(100):
        draw, uri = random.Random(seed), str(tmp_path / str(seed))
        asked = draw_ranges(draw)
        started = [
            context.Process(target=writers.write_in_a_process, args=(uri, ids, seed + n))
            for n, ids in enumerate(asked)
        ]
        for process in started:
            process.start()
        if kill:
            time.sleep(draw.random() * 0.05)
            started[0].kill()
        for process in started:
            process.join()
        assert [process.exitcode for process in started[kill:]] == [0] * len(started[kill:])
        if kill:
            extend_set(uri, asked[0])
        require_whole(uri, asked)


@pytest.fixture
def overlapping_set(tmp_path: Path) -> ShardSet:
    """Sealed as far as 0-29, and then shards of another run, which was killed."""
    store = Store(str(tmp_path / "set"))
    extend_set(store.uri, range(30), machine="one machine")
    for ids in (range(20, 32), range(32, 48), range(40, 44)):
        commit_shard(store, table(ids), SPEC.fingerprint, made_on=["another machine"])
    return open_shards(store.uri)


def test_shards_that_overlap_are_read_once(overlapping_set) -> None:
    pieces = [range(16), range(16, 30), range(30, 32), range(32, 48)]
    assert list(overlapping_set.present) == pieces
    assert len(overlapping_set) == 48
    np.testing.assert_array_equal(overlapping_set.read(NAME), values(np.arange(48)))
    np.testing.assert_array_equal(
        View.from_shards(overlapping_set, 31).read(NAME), values(np.arange(31))
    )
    worker = open_shards(overlapping_set.uri, [range(30, 32)])  # knows this piece, lists nothing
    assert worker.block(range(30, 32), [NAME])["sample_id"].tolist() == [30, 31]
    assert worker.table(range(30, 32), [NAME]).column_names == [NAME]
    overlapping_set.verify()


def test_who_ends_an_extraction_joins_them(overlapping_set) -> None:
    """Though there is nothing to make; and other programs count each sample once."""
    extend_set(overlapping_set.uri, range(48))
    names = [shard_name(ids) for ids in (range(16), range(16, 32), range(32, 48))]
    assert set(overlapping_set.store.names()) == {DATASET, MANIFEST, *names}
    require_whole(overlapping_set.uri, [range(48)])
    query = f"select count(*), sum({NAME}[1]) from '{overlapping_set.uri}/*.parquet'"
    assert duckdb.sql(query).fetchall() == [(48, 48 * 47 / 2)]
    machines = "2 kinds of machine: another machine; one machine"
    assert machines in describe_shard_set(open_shards(overlapping_set.uri))


def test_a_reader_finds_samples_whose_shard_was_joined(overlapping_set) -> None:
    """It has listed the shards before."""
    join_overlapping(open_shards(overlapping_set.uri))
    np.testing.assert_array_equal(overlapping_set.read(NAME), values(np.arange(48)))


def test_nothing_is_removed_for_a_damaged_shard(overlapping_set) -> None:
    store = overlapping_set.store
    path = Path(store.path(shard_name(range(32, 48))))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(values(np.arange(34, 35)).tobytes(), bytes(8)))
    with pytest.raises(ShardError, match=r"1 shards at .* samples-0*32-0*47\.parquet; remove"):
        join_overlapping(overlapping_set)
    assert range(40, 44) in all_shard_ranges(store.names())


def test_nothing_is_removed_if_the_joined_shard_cannot_be_written(overlapping_set) -> None:
    store = overlapping_set.store
    Path(store.path(shard_name(range(20, 32)))).write_bytes(b"PAR1")
    with pytest.raises(ShardError, match="cannot read .*remove it and extract again"):
        join_overlapping(overlapping_set)
    assert range(16, 30) in all_shard_ranges(store.names())


def test_samples_that_are_left_out_stay_left_out(tmp_path) -> None:
    store, lacks = Store(str(tmp_path / "set")), {18: "broken", 31: "broken too"}
    create_or_extend_spec(store, SPEC)
    for ids in (range(16, 30), range(20, 32)):
        rows = table(ids)
        some = [sample not in lacks for sample in ids]
        left_out = {sample: why for sample, why in lacks.items() if sample in ids}
        commit_shard(store, rows.filter(some), SPEC.fingerprint, left_out)
    before = open_shards(store.uri)
    assert (before.left_out, len(before)) == (lacks, 14)
    after = join_overlapping(before)
    assert after.present == (range(16, 32),)
    assert (after.left_out, len(after)) == (lacks, 14)
    assert overlapping_groups([*after.present]) == []
