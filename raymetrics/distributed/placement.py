"""Where the two networks go: pure arithmetic on a description of the cluster.

Generator and extractors share an actor, so that images never leave it, where both fit into the
memory of a GPU; otherwise each has a pool of actors of its own. What an actor asks of Ray is cut
so that a node's actors fit on that node: sums over the cluster would promise what no node has.
Neighbour search and reweighting have one kind of actor, see `nodes.actor_resources`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
ACTORS_PER_COMMITTER = 8  # one encodes some 300 MB/s


def plan_placement(
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, units: int
) -> Placement:
    """Return the pools for so many units of work.

    There is one actor per GPU, or per CPU without GPUs, unless the user asks for a number; more
    actors than that share equally. Raises InsufficientResources, with the figures, if the weights
    do not fit.
    """
    nodes = with_expected_gpus(nodes, resources)
    _require_node_memory(nodes, sizes.maximum if resources.two_pools else sizes.total)
    with_gpus = [node for node in nodes if node.gpus]
    if with_gpus:
        return _plan_on_gpus(with_gpus, sizes, resources, units)
    if not any(node.cpus for node in nodes):
        raise InsufficientResources(
            "the cluster has no CPU and no GPU for workers; if it grows, say to how many GPUs: "
            "--gpus N"
        )
    return _plan_on_cpus(nodes, sizes, resources, units)


def with_expected_gpus(nodes: Sequence[ClusterNode], resources: Resources) -> list[ClusterNode]:
    """Return the nodes, with a machine of one GPU for each GPU that is expected to come."""
    missing = (resources.gpus or 0) - sum(node.gpus for node in nodes)
    return [*nodes, *[ClusterNode(1, 1, gpu_memory=resources.gpu_memory)] * max(0, missing)]


def _plan_on_cpus(
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, units: int
) -> Placement:
    """Return the pools on machines without GPUs.

    All actors ask for equal resources, so that any mixture of them fits.
    """
    if resources.two_pools:
        whole_cpus = sum(_count_shares(node.cpus, 1) for node in nodes) or 1
        extract = min(units, resources.actors or whole_cpus)
        generate = min(units, resources.generators or resources.actors or whole_cpus)
        cpus = _cpu_share(nodes, generate + extract)
        return _make_placement(
            ActorPool(generate, cpus), ActorPool(extract, cpus), "two pools are asked for"
        )
    room = [_count_affordable_actors(node, sizes) for node in nodes]
    actors = min(units, resources.actors or sum(room) or 1)
    short = resources.actors is None and room != [_count_shares(node.cpus, 1) for node in nodes]
    if short and any(room):
        memory = estimate_worker_bytes(sizes.total)
        return _make_placement(
            ActorPool(actors, 1.0, 0.0, memory), None, "as many as memory has room for"
        )
    return _make_placement(
        ActorPool(actors, _cpu_share(nodes, actors)), None, "images stay in their worker"
    )


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
    nodes: Sequence[ClusterNode], sizes: ModelSizes, resources: Resources, units: int
) -> Placement:
    """Return the pools on nodes that all have at least one GPU."""
    gpus = sum(node.gpus for node in nodes)
    memory = min((node.gpu_memory for node in nodes if node.gpu_memory), default=None)
    _require_gpu_memory(sizes.generator or 0, memory, "the generator takes")
    _require_gpu_memory(sizes.extractors or 0, memory, "the extractors take")
    together = memory is None or sizes.total <= _MAX_WEIGHTS_SHARE * memory
    if resources.two_pools or (resources.two_pools is None and not together and gpus > 1):
        return _plan_two_pools(nodes, sizes, resources, units, memory, together)
    actors = min(units, resources.actors or gpus)
    actors_per_gpu = -(-actors // gpus)
    _require_gpu_memory(
        actors_per_gpu * sizes.total,
        memory,
        f"{actors_per_gpu} x the generator and the extractors take",
    )
    reason = (
        "both networks fit into a GPU"
        if together
        else "tight, as weights take more than half of a GPU"
    )
    cpus = _cpus_per_gpu_actor(nodes, actors_per_gpu)
    return _make_placement(
        ActorPool(actors, cpus, ray_share(actors_per_gpu)),
        None,
        _mark_assumed(reason, sizes, memory),
    )


def _plan_two_pools(
    nodes: Sequence[ClusterNode],
    sizes: ModelSizes,
    resources: Resources,
    units: int,
    memory: int | None,
    together: bool,
) -> Placement:
    """Return two pools: a GPU for each actor if there are enough, or pairs that share one."""
    gpus = sum(node.gpus for node in nodes)
    half = max(1, gpus // 2)
    pool_limit = gpus if together else half
    extract = min(units, resources.actors or pool_limit)
    generate = min(
        units, resources.generators or resources.actors or (pool_limit if together else gpus - half)
    )
    if generate + extract <= gpus:
        cpus = _cpus_per_gpu_actor(nodes, 1)
        reason = "a GPU each" if together else "weights of both would take more than half of a GPU"
        reason = _mark_assumed(reason, sizes, memory)
        return _make_placement(
            ActorPool(generate, cpus, 1.0), ActorPool(extract, cpus, 1.0), reason
        )
    if not together:
        raise InsufficientResources(
            f"{generate} generators and {extract} extractors need a GPU each, as one of each takes "
            f"{format_bytes(sizes.total)} of a GPU's {format_bytes(memory or 0)}, and there are "
            f"{gpus} GPUs; ask for fewer actors, for fewer extractors at a time, or with --gpus N "
            "for what the cluster grows to"
        )
    pairs_per_gpu = -(-max(generate, extract) // gpus)
    generator_share, extractor_share = gpu_shares(pairs_per_gpu)
    shared_weights = pairs_per_gpu * sizes.total
    if extract > generate:  # a GPU without a generator may get extractors in its place
        shared_weights = max(
            shared_weights, min(extract, int(1 / extractor_share)) * (sizes.extractors or 0)
        )
    _require_gpu_memory(shared_weights, memory, "the networks that share a GPU take")
    cpus = _cpus_per_gpu_actor(nodes, 2 * pairs_per_gpu)
    reason = _mark_assumed("two pools are asked for, which share GPUs", sizes, memory)
    return _make_placement(
        ActorPool(generate, cpus, generator_share),
        ActorPool(extract, cpus, extractor_share),
        reason,
    )


def gpu_shares(pairs_per_gpu: int) -> tuple[float, float]:
    """Return the GPU shares of a generator and of an extractor, so that the pairs fill a GPU.

    A generator has more than 1 / (pairs_per_gpu + 1), so that no GPU gets one generator more than
    its pairs, and another GPU none: with 0.5 and 0.5 Ray puts two generators on one GPU.
    """
    pair_units = _RAY_UNITS // pairs_per_gpu
    generator_units = (pair_units + _RAY_UNITS // (pairs_per_gpu + 1) + 1) // 2
    return generator_units / _RAY_UNITS, (pair_units - generator_units) / _RAY_UNITS


def _cpus_per_gpu_actor(nodes: Sequence[ClusterNode], actors_per_gpu: int) -> float:
    """Return the CPUs of each actor: 1, or an equal part of the CPUs of a node."""
    least = min(node.cpus / (node.gpus * actors_per_gpu) for node in nodes)
    return min(1.0, math.floor(least * _RAY_UNITS) / _RAY_UNITS)


def _make_placement(generate: ActorPool, extract: ActorPool | None, reason: str) -> Placement:
    """Return the placement with actors that commit; these ask for no resources."""
    producing = (extract or generate).actors
    return Placement(
        generate, extract, ActorPool(-(-producing // ACTORS_PER_COMMITTER), 0.0), reason
    )


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
