"""Where the two networks go: pure arithmetic on a description of the cluster.

Generator and extractors share an actor, so that images never leave it, where both fit into the
memory of a GPU; otherwise each has a pool of actors of its own. What an actor asks of Ray is cut
so that a node's actors fit on that node: sums over the cluster would promise what no node has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from raymetrics.distributed.resources import Node, Placement, Pool, Resources, Sizes, told
from raymetrics.errors import PlanTooLarge

GRAIN = 10_000  # Ray counts ten-thousandths of a CPU and of a GPU
WEIGHTS_OF_GPU = 0.5  # the share that weights of both may take; networks compute in the rest
PROCESS = 1_000_000_000  # bytes of a worker beside its weights: Python, torch, what they compute
COPIES = 2  # of the weights while they are loaded: the file's and the network's
ACTORS_TO_A_COMMITTER = 8  # one encodes some 300 MB/s


def place(nodes: Sequence[Node], sizes: Sizes, asked: Resources, units: int) -> Placement:
    """The pools for so many units of work.

    One actor per GPU, or per CPU where there are no GPUs, unless a number is asked for; more of
    them than that share equally. PlanTooLarge, with the figures, for what cannot be.
    """
    nodes = grown(nodes, asked)
    require_memory(nodes, sizes.largest if asked.two_pools else sizes.both)
    with_gpus = [node for node in nodes if node.gpus]
    if with_gpus:
        return on_gpus(with_gpus, sizes, asked, units)
    if not any(node.cpus for node in nodes):
        raise PlanTooLarge(
            "the cluster has no CPU and no GPU for workers; if it grows, say to how many GPUs: "
            "--gpus N"
        )
    return on_cpus(nodes, sizes, asked, units)


def grown(nodes: Sequence[Node], asked: Resources) -> list[Node]:
    """The nodes, with machines of one GPU for those that are yet to come."""
    missing = (asked.gpus or 0) - sum(node.gpus for node in nodes)
    return [*nodes, *[Node(1, 1, gpu_memory=asked.gpu_memory)] * max(0, missing)]


def on_cpus(nodes: Sequence[Node], sizes: Sizes, asked: Resources, units: int) -> Placement:
    """Pools on machines without GPUs. All actors ask for the same, so any mixture fits."""
    if asked.two_pools:
        each = sum(slots(node.cpus, 1) for node in nodes) or 1
        extract = min(units, asked.actors or each)
        generate = min(units, asked.generators or asked.actors or each)
        cpus = part_of_cpu(nodes, generate + extract)
        return placed(Pool(generate, cpus), Pool(extract, cpus), "two pools are asked for")
    room = [affordable(node, sizes) for node in nodes]
    actors = min(units, asked.actors or sum(room) or 1)
    short = asked.actors is None and room != [slots(node.cpus, 1) for node in nodes]
    if short and any(room):
        memory = projected(sizes.both)
        return placed(Pool(actors, 1.0, 0.0, memory), None, "as many as memory has room for")
    return placed(Pool(actors, part_of_cpu(nodes, actors)), None, "images stay in their worker")


def affordable(node: Node, sizes: Sizes) -> int:
    """Fused actors of a whole CPU that a node has CPUs and memory for."""
    by_cpu = slots(node.cpus, 1)
    return by_cpu if node.memory is None else min(by_cpu, node.memory // projected(sizes.both))


def projected(weights: int) -> int:
    """About how many bytes a worker with such weights takes, on a machine without GPUs."""
    return PROCESS + COPIES * weights


def part_of_cpu(nodes: Sequence[Node], actors: int) -> float:
    """The largest of 1, 1/2, 1/3 ... of a CPU of which the nodes have so many."""
    part = 1
    while sum(slots(node.cpus, part) for node in nodes) < actors:
        part += 1
    return share_of(part)


def slots(available: float, part: int) -> int:
    """How many parts, of 1 / part each, lie in what a node has."""
    return int(round(available * GRAIN) // round(share_of(part) * GRAIN))


def share_of(part: int) -> float:
    """1 / part, rounded down to what Ray counts, so that `part` of them fit."""
    if part > GRAIN:
        raise PlanTooLarge(f"Ray cuts no CPU or GPU into over {GRAIN} parts; ask for fewer actors")
    return (GRAIN // part) / GRAIN


def on_gpus(nodes: Sequence[Node], sizes: Sizes, asked: Resources, units: int) -> Placement:
    """Pools on machines with GPUs, all of which have at least one."""
    gpus = sum(node.gpus for node in nodes)
    memory = min((node.gpu_memory for node in nodes if node.gpu_memory), default=None)
    require_gpu(sizes.generator or 0, memory, "the generator takes")
    require_gpu(sizes.extractors or 0, memory, "the extractors take")
    together = memory is None or sizes.both <= WEIGHTS_OF_GPU * memory
    if asked.two_pools or (asked.two_pools is None and not together and gpus > 1):
        return pools_on_gpus(nodes, sizes, asked, units, memory, together)
    actors = min(units, asked.actors or gpus)
    part = -(-actors // gpus)
    require_gpu(part * sizes.both, memory, f"{part} x the generator and the extractors take")
    why = (
        "both networks fit into a GPU"
        if together
        else "tight, as weights take more than half of a GPU"
    )
    cpus = cpus_of_gpu_actors(nodes, part)
    return placed(Pool(actors, cpus, share_of(part)), None, unknown(why, sizes, memory))


def pools_on_gpus(
    nodes: Sequence[Node],
    sizes: Sizes,
    asked: Resources,
    units: int,
    memory: int | None,
    together: bool,
) -> Placement:
    """Two pools: a GPU for each actor if there are so many, or pairs that share one."""
    gpus = sum(node.gpus for node in nodes)
    half = max(1, gpus // 2)
    each = gpus if together else half
    extract = min(units, asked.actors or each)
    generate = min(units, asked.generators or asked.actors or (each if together else gpus - half))
    if generate + extract <= gpus:
        cpus = cpus_of_gpu_actors(nodes, 1)
        why = "a GPU each" if together else "weights of both would take more than half of a GPU"
        why = unknown(why, sizes, memory)
        return placed(Pool(generate, cpus, 1.0), Pool(extract, cpus, 1.0), why)
    if not together:
        raise PlanTooLarge(
            f"{generate} generators and {extract} extractors need a GPU each, as one of each takes "
            f"{told(sizes.both)} of a GPU's {told(memory or 0)}, and there are {gpus} GPUs; ask "
            "for fewer actors, for fewer extractors at a time, or with --gpus N for what the "
            "cluster grows to"
        )
    part = -(-max(generate, extract) // gpus)
    own, other = pair(part)
    held = part * sizes.both
    if extract > generate:  # a GPU without a generator may get extractors in its place
        held = max(held, min(extract, int(1 / other)) * (sizes.extractors or 0))
    require_gpu(held, memory, "the networks that share a GPU take")
    cpus = cpus_of_gpu_actors(nodes, 2 * part)
    why = unknown("two pools are asked for, which share GPUs", sizes, memory)
    return placed(Pool(generate, cpus, own), Pool(extract, cpus, other), why)


def pair(part: int) -> tuple[float, float]:
    """The GPU shares of a generator and an extractor, of which `part` pairs fill a GPU.

    A generator has more than 1 / (part + 1), so that no GPU gets one generator more than its
    pairs, and another one none: of 0.5 and 0.5 Ray puts two generators on one GPU.
    """
    both = GRAIN // part
    own = (both + GRAIN // (part + 1) + 1) // 2
    return own / GRAIN, (both - own) / GRAIN


def cpus_of_gpu_actors(nodes: Sequence[Node], to_a_gpu: int) -> float:
    """The CPUs of each actor, of which every GPU has so many: 1, or the equal part of a node."""
    least = min(node.cpus / (node.gpus * to_a_gpu) for node in nodes)
    return min(1.0, math.floor(least * GRAIN) / GRAIN)


def placed(generate: Pool, extract: Pool | None, why: str) -> Placement:
    """With the actors that commit what the others make; these ask for nothing."""
    producing = (extract or generate).actors
    return Placement(generate, extract, Pool(-(-producing // ACTORS_TO_A_COMMITTER), 0.0), why)


def unknown(why: str, sizes: Sizes, memory: int | None) -> str:
    """The reason, or that it is an assumption."""
    if memory is None:
        return f"{why} (assumed: the memory of the GPUs is unknown, --gpu-memory GB)"
    if sizes.generator is None or sizes.extractors is None:
        return f"{why} (assumed: not all weights are known)"
    return why


def require_gpu(weights: int, memory: int | None, what: str) -> None:
    """PlanTooLarge if such weights alone exceed a GPU's memory."""
    if memory is not None and weights > memory:
        raise PlanTooLarge(
            f"{what} {told(weights)} of weights, a GPU has {told(memory)}; use larger GPUs, "
            "or ask for fewer extractors or actors at a time"
        )


def require_memory(nodes: Sequence[Node], weights: int) -> None:
    """PlanTooLarge if no node could load such weights."""
    known = [node.memory for node in nodes if node.memory is not None]
    if nodes and len(known) == len(nodes) and weights > max(known):
        raise PlanTooLarge(
            f"a worker would hold {told(weights)} of weights, the largest node has "
            f"{told(max(known))} of memory; use larger machines, or fewer extractors at a time"
        )
