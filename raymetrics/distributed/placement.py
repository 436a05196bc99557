"""Where shards are made: pure arithmetic on a description of the cluster.

There is one kind of actor, which makes a shard from its sample ids. It generates itself, so that
images never leave it, or starts processes that generate for it, where both networks together would
fill a GPU or the user asks for it. All actors ask for equal resources, so that any mixture of them
fits, also after some were lost; what an actor asks for is cut so that a node's actors fit on that
node: sums over the cluster would promise what no node has. Neighbour search and reweighting have
one kind of actor, see `nodes.actor_resources`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from raymetrics.distributed.resources import (
    ActorPool,
    ClusterNode,
    ModelSizes,
    Placement,
    Resources,
    format_bytes,
)
from raymetrics.errors import InsufficientResources

_RAY_UNITS = 10_000  # Ray counts ten-thousandths of a CPU and of a GPU
_MAX_WEIGHTS_SHARE = 0.5  # the share that weights of both may take; networks compute in the rest
PROCESS_BYTES = (
    1_000_000_000  # bytes of a worker beside its weights: Python, torch, what they compute
)
_LOADING_COPIES = 2  # of the weights while they are loaded: the file's and the network's
_MAX_THREADS = 16  # for the decoding of images in one actor


def plan_placement(
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, shards: int
) -> Placement:
    """Return the actors for so many shards.

    There is one actor per GPU, or per CPU without GPUs, unless the user asks for a number; more
    actors than that share equally. Raises InsufficientResources, with the figures, if the weights
    do not fit.
    """
    nodes = with_expected_gpus(nodes, resources)
    _require_node_memory(nodes, sizes.maximum if resources.two_pools else sizes.total)
    with_gpus = [node for node in nodes if node.gpus]
    if with_gpus:
        return _plan_on_gpus(with_gpus, sizes, resources, shards)
    if not any(node.cpus for node in nodes):
        raise InsufficientResources(
            "the cluster has no CPU and no GPU for workers; if it grows, say to how many GPUs: "
            "--gpus N"
        )
    return _plan_on_cpus(nodes, sizes, resources, shards)


def with_expected_gpus(nodes: Sequence[ClusterNode], resources: Resources) -> list[ClusterNode]:
    """Return the nodes, with a machine of one GPU for each GPU that is expected to come."""
    missing = (resources.gpus or 0) - sum(node.gpus for node in nodes)
    return [*nodes, *[ClusterNode(1, 1, gpu_memory=resources.gpu_memory)] * max(0, missing)]


def _plan_on_cpus(
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, shards: int
) -> Placement:
    """Return the actors on machines without GPUs."""
    room = [_count_affordable_actors(node, sizes) for node in nodes]
    actors = min(shards, resources.actors or sum(room) or 1)
    generators = _generators_per_worker(resources, actors)
    short = resources.actors is None and room != [_count_shares(node.cpus, 1) for node in nodes]
    if short and any(room):
        memory = estimate_worker_bytes(sizes.total)
        reason = "as many as memory has room for"
        return Placement(ActorPool(actors, 1.0, 0.0, memory), reason, generators)
    reason = "two pools are asked for" if generators else "images stay in their worker"
    return Placement(ActorPool(actors, _cpu_share(nodes, actors)), reason, generators)


def _generators_per_worker(resources: Resources, actors: int) -> int:
    """Return how many processes generate for each actor; 0 unless two pools are asked for."""
    if not resources.two_pools:
        return 0
    return -(-(resources.generators or actors) // actors)


def _count_affordable_actors(node: ClusterNode, sizes: ModelSizes) -> int:
    """Count the fused actors of a whole CPU for which a node has CPUs and memory."""
    by_cpu = _count_shares(node.cpus, 1)
    return (
        by_cpu
        if node.memory is None
        else min(by_cpu, node.memory // estimate_worker_bytes(sizes.total))
    )


def estimate_worker_bytes(weights: int) -> int:
    """Estimate the bytes of a worker with such weights, on a machine without GPUs."""
    return PROCESS_BYTES + _LOADING_COPIES * weights


def _cpu_share(nodes: Sequence[ClusterNode], actors: int) -> float:
    """Return the largest of 1, 1/2, 1/3 ... of a CPU of which the nodes have one per actor."""
    divisor = 1
    while sum(_count_shares(node.cpus, divisor) for node in nodes) < actors:
        divisor += 1
    return ray_share(divisor)


def _count_shares(available: float, divisor: int) -> int:
    """Count the shares of 1 / divisor that a node has."""
    return int(round(available * _RAY_UNITS) // round(ray_share(divisor) * _RAY_UNITS))


def ray_share(divisor: int) -> float:
    """Return 1 / divisor, rounded down to the unit of Ray, so that `divisor` shares fit."""
    if divisor > _RAY_UNITS:
        raise InsufficientResources(
            f"Ray cuts no CPU or GPU into over {_RAY_UNITS} parts; ask for fewer actors"
        )
    return (_RAY_UNITS // divisor) / _RAY_UNITS


def _plan_on_gpus(
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, shards: int
) -> Placement:
    """Return the actors on nodes that all have at least one GPU."""
    memory = min((node.gpu_memory for node in nodes if node.gpu_memory), default=None)
    _require_gpu_memory(sizes.generator or 0, memory, "the generator takes")
    _require_gpu_memory(sizes.extractors or 0, memory, "the extractors take")
    together = memory is None or sizes.total <= _MAX_WEIGHTS_SHARE * memory
    largest = max(node.gpus for node in nodes)
    if resources.two_pools or (resources.two_pools is None and not together and largest > 1):
        numbers = resources.actors or resources.generators
        wants_own = numbers or not together  # otherwise pairs share all GPUs
        separate = _plan_separate_gpus(nodes, sizes, resources, shards) if wants_own else None
        if separate is not None:
            reason = "a GPU each" if together else "weights of both take more than half of a GPU"
            return replace(separate, reason=_mark_assumed(reason, sizes, memory))
        if not together:
            raise InsufficientResources(
                f"a worker and its generators need a GPU each of one machine, as generator and "
                f"extractors take {format_bytes(sizes.total)} of a GPU's "
                f"{format_bytes(memory or 0)}, and no machine has more than {largest} GPUs; ask "
                "for fewer actors or generators, for fewer extractors at a time, or with --gpus N "
                "for what the cluster grows to"
            )
    return _plan_shared_gpus(nodes, sizes, resources, shards, memory, together)


def _plan_separate_gpus(
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, shards: int
) -> Placement | None:
    """Return actors with a GPU for themselves and one for each generator; None if they do not fit.

    A generator without weights, such as a data set, asks for no GPU.
    """
    gpu_each = int(sizes.generator != 0)
    if resources.actors:
        actors = min(shards, resources.actors)
        generators = max(1, _generators_per_worker(resources, actors))
    else:
        most = sum(node.gpus // (1 + gpu_each) for node in nodes)
        actors = min(shards, most)
        generators = max(1, _generators_per_worker(resources, actors)) if actors else 1
    gpus = 1 + gpu_each * generators
    if not actors or sum(node.gpus // gpus for node in nodes) < actors:
        return None
    cpus = _cpus_per_gpu_actor(nodes, 1)
    pool = ActorPool(actors, cpus, float(gpus), threads=_count_decoding_threads(nodes, 1))
    return Placement(pool, "", generators, gpu_each)


def _plan_shared_gpus(
    nodes: Sequence[ClusterNode],
    sizes: ModelSizes,
    resources: Resources,
    shards: int,
    memory: int | None,
    together: bool,
) -> Placement:
    """Return actors that share the GPUs equally, with their generators if two pools are asked for.

    As the shares are equal, no GPU gets an actor more than another one needs to have.
    """
    gpus = sum(node.gpus for node in nodes)
    actors = min(shards, resources.actors or gpus)
    actors_per_gpu = -(-actors // gpus)
    generators = _generators_per_worker(resources, actors)
    weights = (sizes.generator or 0) * max(1, generators) + (sizes.extractors or 0)
    subject = f"{actors_per_gpu} x the generator and the extractors take"
    _require_gpu_memory(actors_per_gpu * weights, memory, subject)
    reason = (
        "two pools are asked for, which share GPUs"
        if generators
        else "both networks fit into a GPU"
        if together
        else "tight, as weights take more than half of a GPU"
    )
    cpus = _cpus_per_gpu_actor(nodes, actors_per_gpu)
    threads = _count_decoding_threads(nodes, actors_per_gpu)
    pool = ActorPool(actors, cpus, ray_share(actors_per_gpu), threads=threads)
    return Placement(pool, _mark_assumed(reason, sizes, memory), generators)


def _count_decoding_threads(nodes: Sequence[ClusterNode], actors_per_gpu: int) -> int:
    """Return the threads of each actor: its share of the CPUs of a node."""
    least = min(node.cpus / (node.gpus * actors_per_gpu) for node in nodes)
    return max(1, min(_MAX_THREADS, int(least)))


def _cpus_per_gpu_actor(nodes: Sequence[ClusterNode], actors_per_gpu: int) -> float:
    """Return the CPUs of each actor: 1, or an equal part of the CPUs of a node."""
    least = min(node.cpus / (node.gpus * actors_per_gpu) for node in nodes)
    return min(1.0, math.floor(least * _RAY_UNITS) / _RAY_UNITS)


def _mark_assumed(reason: str, sizes: ModelSizes, memory: int | None) -> str:
    """Return the reason, and that it is an assumption where sizes are unknown."""
    if memory is None:
        return f"{reason} (assumed: the memory of the GPUs is unknown, --gpu-memory GB)"
    if sizes.generator is None or sizes.extractors is None:
        return f"{reason} (assumed: not all weights are known)"
    return reason


def _require_gpu_memory(weights: int, memory: int | None, subject: str) -> None:
    """Raise InsufficientResources if such weights alone exceed a GPU's memory."""
    if memory is not None and weights > memory:
        raise InsufficientResources(
            f"{subject} {format_bytes(weights)} of weights, a GPU has {format_bytes(memory)}; use "
            "larger GPUs, or ask for fewer extractors or actors at a time"
        )


def _require_node_memory(nodes: Sequence[ClusterNode], weights: int) -> None:
    """Raise InsufficientResources if no node could load such weights."""
    known = [node.memory for node in nodes if node.memory is not None]
    if nodes and len(known) == len(nodes) and weights > max(known):
        raise InsufficientResources(
            f"a worker would hold {format_bytes(weights)} of weights, the largest node has "
            f"{format_bytes(max(known))} of memory; use larger machines, or fewer extractors at a "
            "time"
        )
