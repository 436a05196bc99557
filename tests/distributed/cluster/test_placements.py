"""Actors get the places that the plan promises, on a cluster of several nodes with logical GPUs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import placed_sources
import psutil
import pytest
from gpu_seats import Seat, collect_seats
from machines import Driver, Machines
from ray._private.state import actors

from raymetrics.distributed.extraction.dry_run import plan_extraction
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.nodes import plan_cluster_placement, tightest_machine
from raymetrics.distributed.resources import ActorPool, Placement, Resources
from raymetrics.distributed.session import session
from raymetrics.errors import InsufficientResources

# All of them; how pools are cut is held against a simulated scheduler in tests/distributed.
pytestmark = pytest.mark.slow

SAMPLES, SHARD_ROWS, BATCH = range(120), 40, 10
PATIENCE = 200.0


def asked(**more: Any) -> Resources:
    return Resources(**{"batch": BATCH, **more})


@pytest.fixture(scope="module")
def pair(cluster: Machines) -> Iterator[str]:
    """One more node, of 2 GPUs; its id."""
    cluster.add("pair", num_cpus=2, num_gpus=2)
    yield cluster.node_id("pair")
    cluster.remove("pair")


@pytest.fixture(scope="module")
def single(cluster: Machines) -> Iterator[str]:
    """One more node, of 1 GPU; its id."""
    cluster.add("single", num_cpus=1, num_gpus=1)
    yield cluster.node_id("single")
    cluster.remove("single")


def promised(**more: Any) -> Placement:
    """In the driver's process."""
    return plan_cluster_placement(asked(**more), 12)


def given(**more: Any) -> tuple[ActorPool, list[Seat]]:
    """In the driver's process: what is promised, and what Ray makes of it."""
    pool = promised(**more).workers
    return pool, collect_seats(pool, patience=90)


def test_parts_of_cpus_on_several_nodes(driver: Driver, cluster: Machines) -> None:
    """Three workers on two nodes of one CPU: halves, none of which lies on two nodes."""
    pool, seats = driver.begin(given, actors=3).result(timeout=PATIENCE)
    assert pool == ActorPool(3, 0.5)
    held = Counter(node for node, _ in seats)
    assert set(held) == {cluster.node_id("one"), cluster.node_id("two")}
    assert max(held.values()) == 2


def test_every_machine_says_how_much_memory_it_has(driver: Driver, cluster: Machines) -> None:
    (total, actors) = driver.begin(tightest_machine, (2, 1.0, 0.0), "total").result(PATIENCE)
    assert (total, actors) == (psutil.virtual_memory().total, 1)  # one on each of two nodes


def test_two_pools_share_every_gpu(driver: Driver, pair: str, single: str) -> None:
    """A worker on each, whose generator shares its GPU."""
    pool, seats = driver.begin(given, fused=False).result(timeout=PATIENCE)
    assert pool == ActorPool(3, 1.0, 1.0)
    assert sorted(seats) == sorted([(pair, ("0",)), (pair, ("1",)), (single, ("0",))])


def test_thirds_of_a_gpu(driver: Driver, pair: str, single: str) -> None:
    """Seven workers on three GPUs, none of which has parts of two."""
    pool, seats = driver.begin(given, actors=7).result(timeout=PATIENCE)
    assert pool == ActorPool(7, 0.3333, 0.3333)
    held = Counter(seats)
    assert len(held) == 3
    assert max(held.values()) == 3
    assert all(len(gpus) == 1 for _, gpus in seats)


def text_of_plan(to: str) -> str:
    """In the driver's process, where no Ray is to be started."""
    return str(
        plan_extraction("digits", ["digits"], to, SAMPLES, resources=asked(), shard_rows=SHARD_ROWS)
    )


def test_a_plan_tells_the_nodes_of_the_cluster(
    driver: Driver, pair: str, single: str, tmp_path: Path
) -> None:
    text = driver.begin(text_of_plan, str(tmp_path)).result(timeout=PATIENCE)
    assert "the cluster: 1 x 0 CPUs, " in text
    for node in ("2 x 1 CPUs, ", "1 x 1 CPUs, 1 GPUs (unknown each), ", "1 x 2 CPUs, 2 GPUs "):
        assert node in text
    assert "3 to generate, extract and commit (1 GPU, 1 CPU each)" in text
    assert list(tmp_path.iterdir()) == []


def refused(to: str, **more: Any) -> str:
    """In the driver's process: why nothing is made."""
    with pytest.raises(InsufficientResources) as raised:
        extract("digits", ["digits"], to, SAMPLES, resources=asked(**more))
    return str(raised.value)


def test_a_gpu_that_torch_cannot_use_is_no_cpu(
    driver: Driver, cluster: Machines, tmp_path: Path
) -> None:
    cluster.add("blind", {"RAYMETRICS_DEVICE": ""}, num_cpus=1, num_gpus=1)
    try:
        message = driver.begin(refused, str(tmp_path)).result(timeout=PATIENCE)
    finally:
        cluster.remove("blind")
    assert "was given GPU 0 of its machine, and torch cannot use it" in message
    assert not list(tmp_path.glob("*.parquet"))


def workers_so_far() -> int:
    """In the driver's process: the actors of stages that there ever were."""
    return sum("MapWorker" in actor["ActorClassName"] for actor in actors().values())


def test_what_cannot_fit_is_refused_and_no_worker_starts(
    driver: Driver, pair: str, tmp_path: Path
) -> None:
    before = driver.begin(workers_so_far).result(timeout=PATIENCE)
    message = driver.begin(refused, str(tmp_path), gpu_memory=1000).result(timeout=PATIENCE)
    assert "of weights, a GPU has 1.0 kB" in message
    assert driver.begin(workers_so_far).result(timeout=PATIENCE) == before
    assert not list(tmp_path.glob("*.parquet"))
    assert driver.actors_left() == []


def make(folder: str, to: str, **more: Any) -> None:
    """In the driver's process: by workers that tell where they are."""
    extract(
        f"placed_sources:SeatedGenerator?folder={folder}",
        [f"placed_sources:SeatedNetwork?folder={folder}"],
        to,
        SAMPLES,
        shard_rows=SHARD_ROWS,
        resources=asked(**more),
    )


@pytest.mark.parametrize(
    "more", [{}, {"fused": False}, {"generators": 2, "actors": 1}], ids=["fused", "pairs", "whole"]
)
def test_a_stream_has_the_places_and_the_same_bytes(
    driver: Driver, pair: str, single: str, tmp_path: Path, more: dict[str, Any]
) -> None:
    """All workers at the same time, as the generators wait until the last one has its place."""
    folder, there, plain = (tmp_path / name for name in ("seen", "set", "plain"))
    folder.mkdir()
    placement = driver.begin(promised, **more).result(timeout=PATIENCE)
    workers = placement.workers.actors  # a fused one has two stages
    seats_to_come = workers + (placement.generator_count or workers)
    (folder / placed_sources.EXPECTED).write_text(str(seats_to_come))
    driver.begin(make, str(folder), str(there), **more).result(timeout=PATIENCE)

    seats = {stage: told(folder, stage) for stage in ("generate", "extract")}
    if "actors" in more:  # no machine has a GPU for each: the generators share that of their worker
        assert seats["generate"] == seats["extract"] * 2
    else:
        every = sorted([(pair, ("0",)), (pair, ("1",)), (single, ("0",))])
        assert seats == {"generate": every, "extract": every}
    with session(local=True):
        make(str(folder), str(plain))
    assert len(files(there)) == 3
    assert files(there) == files(plain)
    assert driver.actors_left() == []


def told(folder: Path, stage: str) -> list[Seat]:
    """Where a stage's workers were."""
    seats = [json.loads(file.read_text()) for file in folder.glob(f"{stage}-*")]
    return sorted((node, tuple(gpus)) for node, gpus in seats)


def files(folder: Path) -> dict[str, bytes]:
    """The shards in a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
