"""Placements against a scheduler as simple and as blind as Ray's: whatever it tries first fits."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymetrics.distributed.nodes import GPU_GIGABYTES, node_of
from raymetrics.distributed.placement import PROCESS, pair, place, share_of
from raymetrics.distributed.resources import Node, Placement, Pool, Resources, Sizes
from raymetrics.errors import PlanTooLarge, RangeError

GB = 10**9
ENDLESS = 2**60
NOTHING_KNOWN = Sizes()
AUTO = Resources()
TWICE = Resources(4, fused=True)


class Machine:
    """A node that is filled, counted in ten-thousandths as Ray does."""

    def __init__(self, node: Node) -> None:
        self.cpus, self.gpus = round(node.cpus * 10_000), [10_000] * node.gpus
        self.memory = node.memory if node.memory is not None else 2**60
        self.held: list[list[str]] = [[] for _ in self.gpus]

    def takes(self, pool: Pool, name: str) -> bool:
        """Whether the actor fits; then it is here, on the fullest GPU that has room."""
        cpus, gpus = round(pool.cpus * 10_000), round(pool.gpus * 10_000)
        fits = [i for i, left in enumerate(self.gpus) if left >= gpus]
        if self.cpus < cpus or self.memory < pool.memory or (gpus and not fits):
            return False
        if gpus:
            best = min(fits, key=lambda i: self.gpus[i])
            self.gpus[best] -= gpus
            self.held[best].append(name)
        self.cpus, self.memory = self.cpus - cpus, self.memory - pool.memory
        return True


def fill(nodes: list[Node], placement: Placement, seed: int = 0) -> list[Machine]:
    """The machines once every actor has a place, on nodes in any order; fails if one has none."""
    machines, rng = [Machine(node) for node in nodes], random.Random(seed)
    names = ["generate", "extract"]
    for name, pool in zip(names, placement.pools, strict=False):
        for _ in range(pool.actors):
            order = rng.sample(machines, len(machines))
            assert any(machine.takes(pool, name) for machine in order), (name, pool)
    return machines


cpu_nodes = st.lists(st.sampled_from([0.5, 1, 1.5, 2, 3, 7, 64]), min_size=1, max_size=4)
asked = st.one_of(st.none(), st.integers(1, 70))


@given(cpu_nodes, asked, st.sampled_from([True, False, None]), st.integers(0, 9))
def test_every_actor_fits_on_a_node_of_cpus(
    cpus: list[float], actors: int | None, fused: bool | None, seed: int
) -> None:
    nodes = [Node(n) for n in cpus]
    placement = place(nodes, NOTHING_KNOWN, Resources(actors=actors, fused=fused), ENDLESS)
    fill(nodes, placement, seed)
    assert placement.producing.actors == (actors or max(1, sum(map(int, cpus))))
    assert placement.fused == (fused is not False)
    assert placement.commit == Pool(-(-placement.producing.actors // 8), 0.0)


gpu_nodes = st.lists(st.tuples(st.integers(1, 8), st.sampled_from([1, 2, 7, 96])), max_size=3)


@given(gpu_nodes, asked, asked, st.sampled_from([True, False, None]), st.integers(0, 9))
def test_every_actor_fits_on_a_node_of_gpus(
    gpus: list[tuple[int, int]],
    actors: int | None,
    generators: int | None,
    fused: bool | None,
    seed: int,
) -> None:
    nodes = [Node(c, g) for g, c in [*gpus, (2, 4)]]
    wish = Resources(actors=actors, fused=fused, generators=None if fused else generators)
    placement = place([*nodes, Node(64)], NOTHING_KNOWN, wish, ENDLESS)
    fill(nodes, placement, seed)  # none lies on the node without GPUs
    assert all(pool.gpus > 0 for pool in placement.pools)


def test_fragments_of_several_nodes_are_no_cpu() -> None:
    """Two nodes of 1.5 CPUs have three CPUs, and room for two actors of one."""
    nodes = [Node(1.5), Node(1.5)]
    assert place(nodes, NOTHING_KNOWN, AUTO, ENDLESS).generate == Pool(2, 1.0)
    three = place(nodes, NOTHING_KNOWN, Resources(actors=3), ENDLESS)
    assert three.generate == Pool(3, 0.5)
    fill(nodes, three)


def test_no_more_actors_than_units() -> None:
    assert place([Node(8)], NOTHING_KNOWN, AUTO, 3).generate == Pool(3, 1.0)
    assert place([Node(8, 8)], NOTHING_KNOWN, AUTO, 3).generate == Pool(3, 1.0, 1.0)


def test_one_fused_actor_on_every_gpu_that_holds_both() -> None:
    nodes = [Node(96, 8, 500 * GB, 80 * GB)] * 2
    placement = place(nodes, Sizes(10 * GB, 2 * GB), AUTO, ENDLESS)
    assert placement.generate == Pool(16, 1.0, 1.0)
    assert placement.extract is None
    assert placement.commit.actors == 2
    assert placement.why == "both networks fit into a GPU"


def test_what_does_not_fit_together_has_gpus_of_its_own() -> None:
    nodes = [Node(96, 8, 500 * GB, 24 * GB)]
    placement = place(nodes, Sizes(10 * GB, 4 * GB), AUTO, ENDLESS)
    assert placement.generate == placement.extract == Pool(4, 1.0, 1.0)
    odd = place([Node(8, 3, None, 24 * GB)], Sizes(10 * GB, 4 * GB), AUTO, ENDLESS)
    assert (odd.generate.actors, odd.producing.actors) == (2, 1)
    alone = place([Node(8, 1, None, 24 * GB)], Sizes(10 * GB, 4 * GB), AUTO, ENDLESS)
    assert alone.fused
    assert "tight" in alone.why


@pytest.mark.parametrize("pairs", [1, 2, 3, 4])
def test_two_pools_share_every_gpu_in_pairs(pairs: int) -> None:
    nodes = [Node(8, 2), Node(8, 2)]
    placement = place(nodes, NOTHING_KNOWN, Resources(4 * pairs, fused=False), ENDLESS)
    machines = fill(nodes, placement)
    for held in [held for machine in machines for held in machine.held]:
        assert sorted(held) == ["extract"] * pairs + ["generate"] * pairs


@given(st.integers(1, 40))
def test_pairs_fill_a_gpu_and_a_generator_too_many_does_not_fit(pairs: int) -> None:
    own, other = pair(pairs)
    assert 0 < other < own
    assert pairs * (round(own * 10_000) + round(other * 10_000)) <= 10_000
    assert (pairs + 1) * own > 1
    assert pairs * round(share_of(pairs) * 10_000) <= 10_000


def test_numbers_of_either_pool_are_those_asked_for() -> None:
    nodes = [Node(32, 8)]
    placement = place(nodes, NOTHING_KNOWN, Resources(2, generators=6), ENDLESS)
    assert placement.generate == Pool(6, 1.0, 1.0)  # a GPU each, as there are eight
    assert placement.extract == Pool(2, 1.0, 1.0)


def test_gpus_that_are_yet_to_come_are_counted_when_the_user_says_so() -> None:
    head = Node(0)
    with pytest.raises(PlanTooLarge, match="no CPU and no GPU for workers.*--gpus N"):
        place([head], NOTHING_KNOWN, AUTO, ENDLESS)
    placement = place([head], NOTHING_KNOWN, Resources(gpus=16), ENDLESS)
    assert placement.generate == Pool(16, 1.0, 1.0)
    there = [head, Node(4, 4)]
    assert place(there, NOTHING_KNOWN, Resources(gpus=16), ENDLESS).generate.actors == 16
    assert place(there, NOTHING_KNOWN, AUTO, ENDLESS).generate.actors == 4


def test_memory_limits_how_many_are_chosen_and_is_asked_for_only_then() -> None:
    roomy, small = Node(64, memory=512 * GB), Node(64, memory=64 * GB)
    clip = Sizes(0, GB)  # 3 GB a worker
    assert place([roomy], clip, AUTO, ENDLESS).generate == Pool(64, 1.0)
    placement = place([small, roomy], clip, AUTO, ENDLESS)
    assert placement.generate == Pool(21 + 64, 1.0, 0.0, PROCESS + 2 * GB)
    for seed in range(9):
        fill([small, roomy], placement, seed)
    assert place([small], clip, Resources(64), ENDLESS).generate == Pool(64, 1.0)
    tiny = Node(2, memory=GB // 2)  # a machine that is busy now may yet do it
    assert place([tiny], Sizes(0, 10**8), AUTO, ENDLESS).generate == Pool(1, 1.0)


@pytest.mark.parametrize(
    ("nodes", "sizes", "wish", "message"),
    [
        ([Node(8, 2, None, 16 * GB)], Sizes(20 * GB, GB), AUTO, "the generator takes.*20.0 GB.*16"),
        ([Node(8, 2, None, 16 * GB)], Sizes(0, 17 * GB), AUTO, "the extractors take 17.0 GB"),
        ([Node(8, 1, None, 16 * GB)], Sizes(9 * GB, 9 * GB), AUTO, "18.0 GB of weights"),
        ([Node(8, 2, None, 16 * GB)], Sizes(9 * GB, 2 * GB), TWICE, "22.0 GB.*fewer"),
        (
            [Node(8, 2, None, 16 * GB)], Sizes(9 * GB, 2 * GB), Resources(2, fused=False),
            "2 generators and 2 extractors.*11.0 GB of a GPU's 16.0 GB.*2 GPUs.*--gpus N",
        ),
        (
            [Node(8, 2, None, 16 * GB)], Sizes(GB, 6 * GB), Resources(3, generators=1),
            "share a GPU take 18.0 GB",
        ),
        ([Node(8, 0, 4 * GB)] * 2, Sizes(5 * GB), AUTO, "5.0 GB of weights.*4.0 GB of memory"),
        ([Node(2)], Sizes(), Resources(30_000), "into over 10000 parts"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_the_figures(
    nodes: list[Node], sizes: Sizes, wish: Resources, message: str
) -> None:
    with pytest.raises(PlanTooLarge, match=message):
        place(nodes, sizes, wish, ENDLESS)


def test_what_is_assumed_is_said() -> None:
    nodes = [Node(8, 2, None, 80 * GB)]
    assert place(nodes, Sizes(GB, GB), AUTO, ENDLESS).why == "both networks fit into a GPU"
    assert "not all weights are known" in place(nodes, Sizes(None, GB), AUTO, ENDLESS).why
    assert "--gpu-memory" in place([Node(8, 2)], Sizes(GB, GB), AUTO, ENDLESS).why


def test_nodes_by_what_ray_says_of_them() -> None:
    assert node_of({"memory": 2e9, "CPU": 1.5}) == Node(1.5, 0, 2 * GB, None)
    a100 = {"CPU": 8.0, "GPU": 4.0, "accelerator_type:A100": 1.0}
    assert node_of(a100) == Node(8, 4, None, 38_800_000_000)
    assert node_of(a100, gpu_memory=79 * GB).gpu_memory == 79 * GB
    assert node_of({"GPU": 1.0, "accelerator_type:TPU-V4": 1.0}).gpu_memory is None
    assert node_of({"node:__internal_head__": 1.0}) == Node(0.0)


def test_names_of_gpus_are_those_that_ray_gives() -> None:
    from ray.util.accelerators import accelerators

    given = {value for name, value in vars(accelerators).items() if name.startswith("NVIDIA")}
    assert set(GPU_GIGABYTES) - given <= {"A10", "A30", "A40"}  # by the second word of their name


@pytest.mark.parametrize("name", ["actors", "batch", "generators", "gpus", "gpu_memory"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(RangeError, match=f"{name} is 0, expected 1 to 10"):
        Resources(**{name: 0})
