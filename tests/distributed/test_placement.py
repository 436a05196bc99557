"""Placements against a scheduler as simple and as blind as Ray's: whatever it tries first fits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics.distributed.nodes import GPU_GIGABYTES, node_from_resources
from raymetrics.distributed.placement import PROCESS_BYTES, plan_placement, ray_share
from raymetrics.distributed.resources import (
    ActorPool,
    ClusterNode,
    ModelSizes,
    Placement,
    Resources,
)
from raymetrics.errors import InsufficientResources, SampleRangeError

GB = 10**9
ENDLESS = 2**60
NOTHING_KNOWN = ModelSizes()
AUTO = Resources()
TWICE = Resources(4, fused=True)


class Machine:
    """A node that is filled, counted in ten-thousandths as Ray does."""

    def __init__(self, node: ClusterNode) -> None:
        self.node, self.actors = node, 0
        self.cpus, self.gpus = round(node.cpus * 10_000), [10_000] * node.gpus
        self.memory = node.memory if node.memory is not None else 2**60

    def takes(self, pool: ActorPool) -> bool:
        """Whether the actor fits; then it is here, on the fullest GPU that has room."""
        cpus, gpus = round(pool.cpus * 10_000), round(pool.gpus * 10_000)
        whole = gpus // 10_000
        fits = [i for i, left in enumerate(self.gpus) if left >= min(gpus, 10_000)]
        if self.cpus < cpus or self.memory < pool.memory or len(fits) < max(whole, gpus > 0):
            return False
        for best in sorted(fits, key=lambda i: self.gpus[i])[: max(whole, gpus > 0)]:
            self.gpus[best] -= min(gpus, 10_000)
        self.cpus, self.memory = self.cpus - cpus, self.memory - pool.memory
        self.actors += 1
        return True


def fill(nodes: list[ClusterNode], placement: Placement, seed: int = 0) -> list[Machine]:
    """The machines once every actor has a place, on nodes in any order; fails if one has none.

    Then machines are lost, each with its actors, and others of their kind come: all actors that
    were lost find a place again, whichever is tried first.
    """
    machines, rng = [Machine(node) for node in nodes], random.Random(seed)
    seat(placement, placement.workers.actors, machines, rng)
    for _ in range(3):
        lost = rng.choice(machines)
        machines[machines.index(lost)] = Machine(lost.node)
        seat(placement, lost.actors, machines, rng)
    return machines


def seat(placement: Placement, actors: int, machines: list[Machine], rng: random.Random) -> None:
    for _ in range(actors):
        order = rng.sample(machines, len(machines))
        assert any(machine.takes(placement.workers) for machine in order), placement


cpu_nodes = st.lists(st.sampled_from([0.5, 1, 1.5, 2, 3, 7, 64]), min_size=1, max_size=4)
asked = st.one_of(st.none(), st.integers(1, 70))


@given(cpu_nodes, asked, st.sampled_from([True, False, None]), st.integers(0, 9))
def test_every_actor_fits_on_a_node_of_cpus(
    cpus: list[float], actors: int | None, fused: bool | None, seed: int
) -> None:
    nodes = [ClusterNode(n) for n in cpus]
    placement = plan_placement(nodes, NOTHING_KNOWN, Resources(actors=actors, fused=fused), ENDLESS)
    fill(nodes, placement, seed)
    assert placement.workers.actors == (actors or max(1, sum(map(int, cpus))))
    assert placement.generators == (1 if fused is False else 0)


gpu_nodes = st.lists(st.tuples(st.integers(1, 8), st.sampled_from([1, 2, 7, 96])), max_size=3)


@given(gpu_nodes, asked, asked, st.sampled_from([True, False, None]), st.integers(0, 9))
def test_every_actor_fits_on_a_node_of_gpus(
    gpus: list[tuple[int, int]],
    actors: int | None,
    generators: int | None,
    fused: bool | None,
    seed: int,
) -> None:
    nodes = [ClusterNode(c, g) for g, c in [*gpus, (2, 4)]]
    wish = Resources(actors=actors, fused=fused, generators=None if fused else generators)
    placement = plan_placement([*nodes, ClusterNode(64)], NOTHING_KNOWN, wish, ENDLESS)
    fill(nodes, placement, seed)  # none lies on the node without GPUs
    assert placement.workers.gpus > 0
    if generators is not None and not fused:
        assert generators <= placement.generator_count < generators + placement.workers.actors
    if actors is not None:
        assert placement.workers.actors == actors


@pytest.mark.parametrize("gpus", [1, 3, 8])
def test_no_gpu_has_more_actors_than_it_must_for_all_sizes_of_pools(gpus: int) -> None:
    """As Ray takes the fullest GPU that has room, shares that are not equal would leave some empty.

    Also after any of the actors were lost and started again.
    """
    for actors in range(1, 65):
        for generators in (None, 1, actors, 64):
            wish = Resources(actors, generators=generators)
            nodes = [ClusterNode(64, gpus)]
            placement = plan_placement(nodes, NOTHING_KNOWN, wish, ENDLESS)
            (machine,) = fill(nodes, placement, seed=actors)
            share = round(placement.workers.gpus * 10_000)
            held = [round((10_000 - left) / min(share, 10_000)) for left in machine.gpus]
            assert max(held) <= -(-actors // gpus)
            assert sum(held) == actors * max(1, share // 10_000)


def test_fragments_of_several_nodes_are_no_cpu() -> None:
    """Two nodes of 1.5 CPUs have three CPUs, and room for two actors of one."""
    nodes = [ClusterNode(1.5), ClusterNode(1.5)]
    assert plan_placement(nodes, NOTHING_KNOWN, AUTO, ENDLESS).workers == ActorPool(2, 1.0)
    three = plan_placement(nodes, NOTHING_KNOWN, Resources(actors=3), ENDLESS)
    assert three.workers == ActorPool(3, 0.5)
    fill(nodes, three)


def test_no_more_actors_than_shards() -> None:
    assert plan_placement([ClusterNode(8)], NOTHING_KNOWN, AUTO, 3).workers == ActorPool(3, 1.0)
    assert plan_placement([ClusterNode(8, 8)], NOTHING_KNOWN, AUTO, 3).workers == ActorPool(
        3, 1.0, 1.0
    )


def test_one_fused_actor_on_every_gpu_that_holds_both() -> None:
    nodes = [ClusterNode(96, 8, 500 * GB, 80 * GB)] * 2
    placement = plan_placement(nodes, ModelSizes(10 * GB, 2 * GB), AUTO, ENDLESS)
    assert placement.workers == ActorPool(16, 1.0, 1.0, threads=12)
    assert placement.fused
    assert placement.reason == "both networks fit into a GPU"


def test_what_does_not_fit_together_has_gpus_of_its_own() -> None:
    nodes, sizes = [ClusterNode(96, 8, 500 * GB, 24 * GB)], ModelSizes(10 * GB, 4 * GB)
    placement = plan_placement(nodes, sizes, AUTO, ENDLESS)
    assert placement.workers == ActorPool(4, 1.0, 2.0, threads=12)
    assert (placement.generators, placement.generator_gpus) == (1, 1)
    odd = plan_placement([ClusterNode(8, 3, None, 24 * GB)], sizes, AUTO, ENDLESS)
    assert (odd.workers.actors, odd.workers.gpus) == (1, 2.0)
    alone = plan_placement([ClusterNode(8, 1, None, 24 * GB)], sizes, AUTO, ENDLESS)
    assert alone.fused
    assert "tight" in alone.reason


def test_a_data_set_takes_no_gpu() -> None:
    nodes = [ClusterNode(32, 8, None, 24 * GB)]
    wish = Resources(8, generators=16)
    placement = plan_placement(nodes, ModelSizes(0, 4 * GB), wish, ENDLESS)
    assert placement.workers == ActorPool(8, 1.0, 1.0, threads=4)
    assert (placement.generators, placement.generator_gpus) == (2, 0)


@pytest.mark.parametrize("pairs", [1, 2, 3, 4])
def test_two_pools_share_gpus_where_there_are_too_few(pairs: int) -> None:
    nodes = [ClusterNode(8, 2), ClusterNode(8, 2)]
    placement = plan_placement(nodes, NOTHING_KNOWN, Resources(4 * pairs, fused=False), ENDLESS)
    machines = fill(nodes, placement)
    assert [machine.actors for machine in machines] == [2 * pairs] * 2
    assert (placement.generators, placement.generator_gpus) == (1, 0)


@given(st.integers(1, 40))
def test_equal_shares_fill_a_gpu(actors: int) -> None:
    assert actors * round(ray_share(actors) * 10_000) <= 10_000


def test_numbers_of_either_pool_are_those_asked_for() -> None:
    nodes = [ClusterNode(32, 8)]
    placement = plan_placement(nodes, NOTHING_KNOWN, Resources(2, generators=6), ENDLESS)
    assert placement.workers == ActorPool(2, 1.0, 4.0, threads=4)  # a GPU each, as there are eight
    assert (placement.generators, placement.generator_gpus) == (3, 1)


def test_gpus_that_are_yet_to_come_are_counted_when_the_user_says_so() -> None:
    head = ClusterNode(0)
    with pytest.raises(InsufficientResources, match="no CPU and no GPU for workers.*--gpus N"):
        plan_placement([head], NOTHING_KNOWN, AUTO, ENDLESS)
    placement = plan_placement([head], NOTHING_KNOWN, Resources(gpus=16), ENDLESS)
    assert placement.workers == ActorPool(16, 1.0, 1.0)
    there = [head, ClusterNode(4, 4)]
    assert plan_placement(there, NOTHING_KNOWN, Resources(gpus=16), ENDLESS).workers.actors == 16
    assert plan_placement(there, NOTHING_KNOWN, AUTO, ENDLESS).workers.actors == 4


def test_memory_limits_how_many_are_chosen_and_is_asked_for_only_then() -> None:
    roomy, small = ClusterNode(64, memory=512 * GB), ClusterNode(64, memory=64 * GB)
    clip = ModelSizes(0, GB)  # 3 GB a worker
    assert plan_placement([roomy], clip, AUTO, ENDLESS).workers == ActorPool(64, 1.0)
    placement = plan_placement([small, roomy], clip, AUTO, ENDLESS)
    assert placement.workers == ActorPool(21 + 64, 1.0, 0.0, PROCESS_BYTES + 2 * GB)
    for seed in range(9):
        fill([small, roomy], placement, seed)
    assert plan_placement([small], clip, Resources(64), ENDLESS).workers == ActorPool(64, 1.0)
    tiny = ClusterNode(2, memory=GB // 2)  # a machine that is busy now may yet do it
    assert plan_placement([tiny], ModelSizes(0, 10**8), AUTO, ENDLESS).workers == ActorPool(1, 1.0)


@pytest.mark.parametrize(
    ("nodes", "sizes", "wish", "message"),
    [
        (
            [ClusterNode(8, 2, None, 16 * GB)],
            ModelSizes(20 * GB, GB),
            AUTO,
            "the generator takes.*20.0 GB.*16",
        ),
        (
            [ClusterNode(8, 2, None, 16 * GB)],
            ModelSizes(0, 17 * GB),
            AUTO,
            "the extractors take 17.0 GB",
        ),
        (
            [ClusterNode(8, 1, None, 16 * GB)],
            ModelSizes(9 * GB, 9 * GB),
            AUTO,
            "18.0 GB of weights",
        ),
        ([ClusterNode(8, 2, None, 16 * GB)], ModelSizes(9 * GB, 2 * GB), TWICE, "22.0 GB.*fewer"),
        (
            [ClusterNode(8, 2, None, 16 * GB)],
            ModelSizes(9 * GB, 2 * GB),
            Resources(2, fused=False),
            "a GPU each of one machine.*11.0 GB of a GPU's 16.0 GB.*more than 2 GPUs.*--gpus N",
        ),
        (
            [ClusterNode(8, 2, None, 16 * GB)],
            ModelSizes(GB, 6 * GB),
            Resources(5, generators=5),
            "3 x the generator and the extractors take 21.0 GB",
        ),
        (
            [ClusterNode(8, 0, 4 * GB)] * 2,
            ModelSizes(5 * GB),
            AUTO,
            "5.0 GB of weights.*4.0 GB of memory",
        ),
        ([ClusterNode(2)], ModelSizes(), Resources(30_000), "into over 10000 parts"),
    ],
)
def test_what_cannot_be_is_refused_with_the_figures(
    nodes: list[ClusterNode], sizes: ModelSizes, wish: Resources, message: str
) -> None:
    with pytest.raises(InsufficientResources, match=message):
        plan_placement(nodes, sizes, wish, ENDLESS)


def test_what_is_assumed_is_said() -> None:
    nodes = [ClusterNode(8, 2, None, 80 * GB)]
    assert (
        plan_placement(nodes, ModelSizes(GB, GB), AUTO, ENDLESS).reason
        == "both networks fit into a GPU"
    )
    assert (
        "not all weights are known"
        in plan_placement(nodes, ModelSizes(None, GB), AUTO, ENDLESS).reason
    )
    assert (
        "--gpu-memory"
        in plan_placement([ClusterNode(8, 2)], ModelSizes(GB, GB), AUTO, ENDLESS).reason
    )


def test_nodes_by_what_ray_says_of_them() -> None:
    assert node_from_resources({"memory": 2e9, "CPU": 1.5}) == ClusterNode(1.5, 0, 2 * GB, None)
    a100 = {"CPU": 8.0, "GPU": 4.0, "accelerator_type:A100": 1.0}
    assert node_from_resources(a100) == ClusterNode(8, 4, None, 38_800_000_000)
    assert node_from_resources(a100, gpu_memory=79 * GB).gpu_memory == 79 * GB
    assert node_from_resources({"GPU": 1.0, "accelerator_type:TPU-V4": 1.0}).gpu_memory is None
    assert node_from_resources({"node:__internal_head__": 1.0}) == ClusterNode(0.0)


def test_names_of_gpus_are_those_that_ray_gives() -> None:
    from ray.util.accelerators import accelerators

    given = {value for name, value in vars(accelerators).items() if name.startswith("NVIDIA")}
    assert set(GPU_GIGABYTES) - given <= {"A10", "A30", "A40"}  # by the second word of their name


@pytest.mark.parametrize("name", ["actors", "batch", "generators", "gpus", "gpu_memory"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(SampleRangeError, match=f"{name} is 0, expected 1 to 10"):
        Resources(**{name: 0})
