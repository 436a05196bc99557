"""Actors get the places that the plan promises, on a cluster of several nodes with logical GPUs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import placed_sources
import pytest
from machines import Driver, Machines
from ray._private.state import actors

from raymetrics.errors import PlanTooLarge
from raymetrics.streaming import placement as placing
from raymetrics.streaming import planning
from raymetrics.streaming.extract import extract
from raymetrics.streaming.pools import Node, Placement, Pool, Resources
from raymetrics.streaming.resources import placement
from tests.conftest import without_actors

SAMPLES, SHARD_ROWS, BATCH = range(120), 40, 10
PATIENCE = 200.0
Seat = tuple[str, tuple[str, ...]]  # a node, and GPUs of it


def asked(**more: Any) -> Resources:
    return Resources(**{"batch": BATCH, **more})


def make(folder: str, to: str, **more: Any) -> None:
    """In the driver's process; a committer for every two that produce."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(placing, "ACTORS_TO_A_COMMITTER", 2)
        extracted(folder, to, **more)


def extracted(folder: str, to: str, **more: Any) -> None:
    """By the generator and the network that tell where they are."""
    extract(
        f"placed_sources:Generator?folder={folder}",
        [f"placed_sources:Network?folder={folder}"],
        to,
        SAMPLES,
        shard_rows=SHARD_ROWS,
        resources=asked(**more),
    )


def plan(**more: Any) -> tuple[tuple[Node, ...], Placement]:
    """In the driver's process: the nodes, and what is promised of them."""
    _, nodes = planning.machines(asked())
    return tuple(nodes), placement(asked(**more), 12)


class Run:
    """A test's extraction: the promise, and what became of it."""

    def __init__(self, folder: Path, driver: Driver) -> None:
        self.folder, self.driver = folder / "seen", driver
        self.to, self.plain = folder / "set", folder / "plain"
        self.folder.mkdir()

    def promised(self, **more: Any) -> Placement:
        found: Placement = self.driver.begin(plan, **more).result(timeout=PATIENCE)[1]
        return found

    def seats(self, **more: Any) -> dict[str, list[Seat]]:
        """Where the workers of either stage were, all of them at the same time."""
        pools = self.promised(**more).pools
        workers = sum(pool.actors for pool in pools) * (3 - len(pools))  # fused ones tell twice
        (self.folder / placed_sources.EXPECTED).write_text(str(workers))
        made = self.driver.begin(make, str(self.folder), str(self.to), **more)
        made.result(timeout=PATIENCE)
        told = [json.loads(file.read_text()) for file in self.folder.glob("*-*")]
        assert len(told) == workers
        return {
            stage: [(one["node"], tuple(one["gpus"])) for one in told if one["stage"] == stage]
            for stage in ("generate", "extract")
        }

    def require_same(self) -> None:
        """The bytes of a run in this process."""
        with pytest.MonkeyPatch.context() as patch, without_actors():
            patch.setattr(sys.modules[extract.__module__], "session", nullcontext)
            extracted(str(self.folder), str(self.plain))
        made, plain = (
            {file.name: file.read_bytes() for file in place.glob("*.parquet")}
            for place in (self.to, self.plain)
        )
        assert made == plain
        assert len(made) == 3


@pytest.fixture(scope="module")
def pair(cluster: Machines) -> Iterator[str]:
    """One more node, of 2 GPUs; its id."""
    cluster.add("pair", num_cpus=2, num_gpus=2)
    yield cluster.node_id("pair")
    cluster.remove("pair")


@pytest.fixture(scope="module")
def single(cluster: Machines, pair: str) -> Iterator[str]:
    """And one of 1 GPU."""
    cluster.add("single", num_cpus=1, num_gpus=1)
    yield cluster.node_id("single")
    cluster.remove("single")


@pytest.fixture
def run(tmp_path: Path, driver: Driver) -> Iterator[Run]:
    """A test's own; no actor is left afterwards."""
    yield Run(tmp_path, driver)
    assert driver.actors_left() == []


def test_two_pools_share_every_gpu(run: Run, pair: str) -> None:
    """A generator and an extractor on each GPU; with halves it would be two of a kind."""
    assert run.promised(fused=False).pools == (Pool(2, 0.5, 0.75), Pool(2, 0.5, 0.25))
    seats = run.seats(fused=False)
    for stage in ("generate", "extract"):
        assert sorted(seats[stage]) == [(pair, ("0",)), (pair, ("1",))]
    run.require_same()


def refused(to: str, **more: Any) -> str:
    """In the driver's process: why nothing is made."""
    with pytest.raises(PlanTooLarge) as raised:
        extract("digits", ["digits"], to, SAMPLES, resources=asked(**more))
    return str(raised.value)


def test_what_cannot_fit_is_refused_and_no_worker_starts(run: Run, pair: str) -> None:
    before = run.driver.begin(workers_so_far).result(timeout=PATIENCE)
    message = run.driver.begin(refused, str(run.to), gpu_memory=1000).result(timeout=PATIENCE)
    assert "of weights, a GPU has 1.0 kB" in message
    assert run.driver.begin(workers_so_far).result(timeout=PATIENCE) == before
    assert not list(run.to.glob("*.parquet"))


def workers_so_far() -> int:
    """In the driver's process: the actors of stages that there ever were."""
    return sum("MapWorker" in actor["ActorClassName"] for actor in actors().values())


@pytest.mark.slow
def test_two_pools_share_the_gpus_of_two_nodes(run: Run, pair: str, single: str) -> None:
    seats = run.seats(fused=False)
    for stage in ("generate", "extract"):
        assert sorted(seats[stage]) == sorted([(pair, ("0",)), (pair, ("1",)), (single, ("0",))])
    run.require_same()


@pytest.mark.slow
def test_one_fused_worker_on_every_gpu(run: Run, pair: str, single: str) -> None:
    assert run.promised().pools == (Pool(3, 1.0, 1.0),)
    seats = run.seats()
    assert len(set(seats["generate"])) == 3
    assert sorted(seats["generate"]) == sorted(seats["extract"])
    assert {node for node, _ in seats["generate"]} == {pair, single}
    run.require_same()


@pytest.mark.slow
def test_a_gpu_each_where_a_pair_does_not_fit(run: Run, single: str) -> None:
    assert run.promised(generators=2, actors=1).pools == (Pool(2, 1.0, 1.0), Pool(1, 1.0, 1.0))
    seats = run.seats(generators=2, actors=1)
    assert len({*seats["generate"], *seats["extract"]}) == 3
    run.require_same()


@pytest.mark.slow
def test_thirds_of_a_gpu(run: Run, single: str) -> None:
    """Seven workers on three GPUs: no part of one is left that is a share of two."""
    assert run.promised(actors=7).pools == (Pool(7, 0.3333, 0.3333),)
    seats = run.seats(actors=7)
    held = Counter(seats["extract"])
    assert len(held) == 3
    assert max(held.values()) == 3
    run.require_same()


@pytest.mark.slow
def test_parts_of_cpus_on_several_nodes(run: Run, cluster: Machines) -> None:
    """Four pools' workers on two nodes of one CPU: halves, none of which lies on two nodes."""
    assert run.promised(actors=3).pools == (Pool(3, 0.5),)
    seats = run.seats(actors=3)
    held = Counter(node for node, _ in seats["generate"])
    assert set(held) == {cluster.node_id("one"), cluster.node_id("two")}
    assert max(held.values()) == 2
    run.require_same()
