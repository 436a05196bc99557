"""Faults in the middle of an extraction on several nodes: every id once, and the same bytes.

Each test breaks something, and compares the set with one that was made undisturbed in this process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import fault_sources
import numpy as np
import psutil
import pytest
from machines import Driver, Machines

from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import ClusterFailure, SourceError, StorageUnavailable
from raymetrics.shards.layout import shard_name
from raymetrics.shards.shard_set import ShardSet, open_shards

SAMPLES, SHARD_ROWS, BATCH = range(200), 40, 20
AT = 137  # the sample at which most faults strike: in the fourth of five shards
PATIENCE = 300.0


def make(
    source: str,
    to: str,
    extractor: str = "digits",
    samples: range = SAMPLES,
    actors: int = 2,
    patience: float = PATIENCE,
    **more: Any,
) -> int:
    """In the driver's process: the shards that were made. patience: with a store, in seconds."""
    os.environ["RAYMETRICS_PATIENCE_S"] = str(patience)
    resources = Resources(actors=actors, batch=BATCH)
    more = {"shard_rows": SHARD_ROWS, "resources": resources, **more}
    return extract(source, [extractor], to, samples, **more).shards_made


def make_undisturbed(*arguments: Any) -> int:
    """The same in the driver's own process, where no fault strikes."""
    with session(local=True):
        return make(*arguments)


class Place:
    """Where a test's set and its order of a fault are."""

    def __init__(self, folder: Path) -> None:
        self.fault, self.set, self.undisturbed = (
            folder / name for name in ("fault", "set", "undisturbed")
        )
        self.source = f"fault_sources:FaultySource?folder={self.fault}"
        self.extractor = "digits"

    def begin(self, driver: Driver, **more: Any) -> Future[int]:
        """The extraction, going on."""
        return driver.begin(make, self.source, str(self.set), self.extractor, **more)

    def make_undisturbed(self, driver: Driver) -> None:
        """A set to which nothing happens, with the same specification."""
        job = driver.begin(make_undisturbed, self.source, str(self.undisturbed), self.extractor)
        job.result(timeout=PATIENCE)

    def held(self, job: Future[int]) -> dict[str, Any]:
        """Waits until a worker is at the sample that is held; which process it is, on what node."""
        told = self.fault / fault_sources.HELD_FILE
        wait_until(lambda: told.exists() or job.done())
        assert told.exists(), job.result()
        return json.loads(told.read_text())

    def release(self) -> None:
        """Nobody is held from now on."""
        (self.fault / fault_sources.RELEASED_FILE).touch()

    def require_same(self, driver: Driver) -> None:
        """Every id once, and the bytes of a run to which nothing happened."""
        there = open_shards(str(self.set))
        there.verify()
        assert [*np.concatenate([list(ids) for ids in there.present])] == list(SAMPLES)
        self.make_undisturbed(driver)
        assert files(self.set) == files(self.undisturbed)
        assert there.digest == open_shards(str(self.undisturbed)).digest
        assert not list(self.set.glob(".aside-*"))


def files(folder: Path) -> dict[str, bytes]:
    """The shards in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def wait_until(what: Any, patience: float = PATIENCE) -> None:
    """A condition instead of a time; fails if it does not come."""
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.fixture
def place(tmp_path: Path, driver: Driver) -> Iterator[Place]:
    """A place of the test's own; no actor is left afterwards."""
    place = Place(tmp_path)
    yield place
    fault_sources.recover(place.fault)
    assert driver.actors_left() == []


def test_a_worker_killed_from_outside(place: Place, driver: Driver) -> None:
    """Beside it, nothing was wrong: the run goes on by itself."""
    fault_sources.order_fault(place.fault, "hold", AT)
    job = place.begin(driver)
    os.kill(place.held(job)["pid"], signal.SIGKILL)
    assert job.result(timeout=PATIENCE) == 5
    place.require_same(driver)


@pytest.mark.slow
def test_a_worker_that_ends_in_the_middle_of_a_unit(place: Place, driver: Driver) -> None:
    fault_sources.order_fault(place.fault, "exit", AT, times=2)
    assert place.begin(driver).result(timeout=PATIENCE) == 5
    assert fault_sources.count_strikes(place.fault) == 2
    place.require_same(driver)


@pytest.mark.slow
def test_samples_that_always_end_their_worker(place: Place, driver: Driver) -> None:
    """They are named, after three times, and the same command makes them once they are mended."""
    fault_sources.order_fault(place.fault, "exit", AT, times=fault_sources.ALWAYS)
    with pytest.raises(SourceError, match="samples 120-159 ended their worker 3 times"):
        place.begin(driver).result(timeout=PATIENCE)
    assert fault_sources.count_strikes(place.fault) == 3
    assert {shard.start for shard in open_shards(str(place.set)).present} >= {0, 40, 80}
    fault_sources.recover(place.fault)
    assert place.begin(driver).result(timeout=PATIENCE) <= 2
    place.require_same(driver)


@pytest.mark.slow
def test_a_worker_that_ends_while_it_starts(place: Place, driver: Driver) -> None:
    place.extractor = f"fault_sources:FragileExtractor?folder={place.fault}"
    fault_sources.order_fault(place.fault, "start", times=1)
    assert place.begin(driver).result(timeout=PATIENCE) == 5
    assert fault_sources.count_strikes(place.fault) == 1
    place.require_same(driver)


@pytest.mark.slow
def test_workers_that_always_end_while_they_start(place: Place, driver: Driver) -> None:
    """That ends the run instead of going on for ever."""
    place.extractor = f"fault_sources:FragileExtractor?folder={place.fault}"
    fault_sources.order_fault(place.fault, "start", times=fault_sources.ALWAYS)
    with pytest.raises(ClusterFailure, match="worker"):
        place.begin(driver).result(timeout=PATIENCE)
    fault_sources.recover(place.fault)
    assert place.begin(driver).result(timeout=PATIENCE) == 5
    place.require_same(driver)


@pytest.mark.slow
def test_a_node_lost_and_another_added(place: Place, driver: Driver, cluster: Machines) -> None:
    """The loss takes an actor, the unit that it worked on, and rows that wait for their shard."""
    fault_sources.order_fault(place.fault, "hold", AT)
    job = place.begin(driver)
    lost = "one" if cluster.node_id("one") == place.held(job)["node"] else "two"
    cluster.remove(lost)
    cluster.add(lost)
    assert job.result(timeout=PATIENCE) == 5
    place.require_same(driver)


@pytest.mark.slow
def test_all_nodes_lost_and_one_added(place: Place, driver: Driver, cluster: Machines) -> None:
    """Nobody is left to work until it joins."""
    fault_sources.order_fault(place.fault, "hold", AT)
    job = place.begin(driver)
    place.held(job)
    for name in ("one", "two"):
        cluster.remove(name)
    for name in ("one", "two"):
        cluster.add(name)
    assert job.result(timeout=PATIENCE) == 5
    place.require_same(driver)


@pytest.mark.slow
def test_the_driver_killed_and_another_in_its_place(
    place: Place, driver: Driver, cluster: Machines
) -> None:
    """Its workers go with it, and what it has made stays."""
    fault_sources.order_fault(place.fault, "hold", AT)
    killed = Driver(cluster.address)
    place.held(place.begin(killed))
    wait_until(lambda: len(files(place.set)) == 3)
    killed.kill()
    assert driver.actors_left() == []
    fault_sources.recover(place.fault)
    there = len(open_shards(str(place.set)).present)
    assert there == 3
    assert place.begin(driver).result(timeout=PATIENCE) == 5 - there
    place.require_same(driver)


@pytest.mark.slow
def test_a_worker_that_is_killed_for_its_memory(
    place: Place, driver: Driver, cluster: Machines
) -> None:
    """Ray kills what takes too much of a machine, here 3 GB where 2 are left below its limit."""
    memory = psutil.virtual_memory()
    limit = (memory.total - memory.available + 2e9) / memory.total
    limits = {"RAY_memory_usage_threshold": f"{limit:.3f}", "RAY_memory_monitor_refresh_ms": "100"}
    fault_sources.order_fault(place.fault, "devour", AT)
    for name in ("one", "two"):
        cluster.remove(name)
    cluster.add("tight", limits)
    try:
        job = place.begin(driver, actors=1)
        assert job.result(timeout=PATIENCE) == 5
    finally:
        cluster.remove("tight")
        for name in ("one", "two"):
            cluster.add(name)
    assert fault_sources.count_strikes(place.fault) == 1
    place.require_same(driver)


@pytest.mark.slow
def test_a_sample_that_cannot_be_made(place: Place, driver: Driver) -> None:
    """It is named; what fails only once is made all the same; or the others are, without it."""
    fault_sources.order_fault(place.fault, "fail", AT, times=1)
    assert place.begin(driver).result(timeout=PATIENCE) == 5
    place.require_same(driver)
    for shard in open_shards(str(place.set)).present[3:]:
        (place.set / shard_name(shard)).unlink()

    fault_sources.order_fault(place.fault, "fail", AT, times=fault_sources.ALWAYS)
    with pytest.raises(SourceError, match=r"sample.* 137.*no such latent"):
        place.begin(driver).result(timeout=PATIENCE)
    assert place.begin(driver, max_errors=1).result(timeout=PATIENCE) >= 1
    there = open_shards(str(place.set))
    there.verify()
    assert list(there.left_out) == [AT]
    assert "no such latent" in there.left_out[AT]
    made = [k for ids in there.present for k in there.table(ids)["sample_id"].to_pylist()]
    assert made == [k for k in SAMPLES if k != AT]


@pytest.mark.slow
def test_a_full_disk(place: Place, driver: Driver) -> None:
    """What was written is whole; with room again the same command goes on. The disk has room for
    the features, as is asked beforehand, but not for all that the files have beside them."""
    place.set.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=72k", "tmpfs", str(place.set)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("a disk that is full has to be mounted, which takes root")
    try:
        with pytest.raises(StorageUnavailable, match="no space left"):
            place.begin(driver, patience=2).result(timeout=PATIENCE)
        half = open_shards(str(place.set))
        half.verify()
        assert 0 < len(half.present) < 5
        subprocess.run(["mount", "-o", "remount,size=10m", str(place.set)], check=True)
        assert place.begin(driver).result(timeout=PATIENCE) == 5 - len(half.present)
        place.require_same(driver)
    finally:
        subprocess.run(["umount", str(place.set)], check=True)


@pytest.mark.slow
def test_two_write_the_same_set_at_once(place: Place, driver: Driver, cluster: Machines) -> None:
    """Both have planned everything before either writes; each shard is one's or the other's."""
    _, by_both = both_at_once(place, driver, cluster, SAMPLES, SAMPLES)
    assert by_both == 5
    place.require_same(driver)


@pytest.mark.slow
def test_two_write_ranges_that_overlap(place: Place, driver: Driver, cluster: Machines) -> None:
    """One cuts at 80-120, the other begins at 100: the set is whole all the same."""
    there, by_both = both_at_once(place, driver, cluster, range(120), range(100, 200))
    assert by_both >= 5
    assert there.spec.samples == (range(200),)
    place.make_undisturbed(driver)
    undisturbed = open_shards(str(place.undisturbed))
    column = "digits_pre_logits"
    np.testing.assert_array_equal(there.read(column), undisturbed.read(column))


def both_at_once(
    place: Place, driver: Driver, cluster: Machines, one: range, other: range
) -> tuple[ShardSet, int]:
    """The set after two drivers made these samples of it, and the shards that both wrote."""
    fault_sources.order_fault(place.fault, "hold", 100, times=2)
    second = Driver(cluster.address)
    try:
        jobs = [
            place.begin(of, samples=samples, actors=1)
            for of, samples in ((driver, one), (second, other))
        ]
        done = [job.done for job in jobs]
        wait_until(lambda: fault_sources.count_strikes(place.fault) == 2 or any(d() for d in done))
        place.release()
        made = sum(job.result(timeout=PATIENCE) for job in jobs)
    finally:
        second.stop()
    there = open_shards(str(place.set))
    there.verify()
    return there, made
