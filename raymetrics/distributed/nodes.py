"""The machines of a cluster, or this one as a local Ray would see it, and how work shares them.

The only place that asks Ray for CPUs and GPUs, and the only table of what GPUs hold.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil

from raymetrics.distributed.placement import plan_placement
from raymetrics.distributed.resources import (
    LOCAL_PLACEMENT,
    UNKNOWN_SIZES,
    ActorPool,
    ClusterNode,
    ModelSizes,
    Placement,
    Resources,
)
from raymetrics.distributed.session import uses_ray

# Ray knows only the name of a GPU. Gigabytes of the smallest GPU that is sold under each name;
# 3 % are taken off, as a device has less than its name says.
GPU_GIGABYTES = {
    "T4": 16, "P4": 8, "P100": 12, "V100": 16, "A10G": 24, "A10": 24, "A30": 24, "A40": 48,
    "L4": 24, "L40S": 48, "A100": 40, "A100-40G": 40, "A100-80G": 80, "H100": 80, "H20": 96,
    "H200": 141, "B200": 180, "B300": 270, "GB200": 186, "RTX-PRO-6000": 96,
}  # fmt: skip
_USABLE_SHARE = 0.97
_UNNAMED_GPU_BYTES = 16e9  # of a GPU whose name is unknown: few GPUs in use have less
_GPU_OVERHEAD = 3e9  # FAISS's working space and CUDA's context
_ACCELERATOR_PREFIX = "accelerator_type:"


def cluster_nodes(gpu_memory: int | None = None) -> list[ClusterNode]:
    """Return the living nodes of the cluster that this process has joined.

    gpu_memory: bytes of each GPU, where the user knows them.
    """
    import ray

    return [
        node_from_resources(node["Resources"], gpu_memory) for node in ray.nodes() if node["Alive"]
    ]


def node_from_resources(
    resources: Mapping[str, float], gpu_memory: int | None = None
) -> ClusterNode:
    """Return the node that Ray describes by these resources.

    gpu_memory: bytes of each GPU, where the user knows them.
    """
    memory = resources.get("memory")
    return ClusterNode(
        cpus=resources.get("CPU", 0.0),
        gpus=int(resources.get("GPU", 0)),
        memory=None if memory is None else int(memory),
        gpu_memory=gpu_memory or _gpu_memory_by_name(resources),
    )


def tightest_machine(resources: tuple[int, float, float], measure: str) -> tuple[int, int]:
    """Return the bytes of the machine with the least memory for an actor, and its actors.

    resources: how many actors share the cluster, and the CPUs and GPUs of each. measure: "total" or
    "available" memory, which a cluster of several machines measures on each of them.
    """
    machines = _machine_memory(measure) if uses_ray() else []
    if len(machines) <= 1:
        return measure_memory(measure), resources[0]
    pool = ActorPool(*resources)
    shares = [(memory, pool.max_actors_on(node)) for node, memory in machines]
    shares = [share for share in shares if share[1]] or [(measure_memory(measure), resources[0])]
    return min(shares, key=lambda share: share[0] / share[1])


def measure_memory(measure: str) -> int:
    """Return the "total" or "available" bytes of memory of this machine."""
    return int(getattr(psutil.virtual_memory(), measure))


def _machine_memory(measure: str) -> list[tuple[ClusterNode, int]]:
    """Return the machines of the cluster with their memory, of which Ray knows only a part."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

    nodes = [node for node in ray.nodes() if node["Alive"]]
    task = ray.remote(num_cpus=0)(measure_memory)
    refs = [
        task.options(scheduling_strategy=OnNode(node["NodeID"], soft=False)).remote(measure)
        for node in nodes
        if len(nodes) > 1
    ]
    memory = ray.get(refs) if refs else [measure_memory(measure)]
    described = [node_from_resources(node["Resources"]) for node in nodes]
    return list(zip(described, memory, strict=True))


def _gpu_memory_by_name(resources: Mapping[str, float]) -> int | None:
    """Return the bytes of each of a node's GPUs, None if their name is unknown."""
    for name in resources:
        if name.startswith(_ACCELERATOR_PREFIX):
            gigabytes = GPU_GIGABYTES.get(name.removeprefix(_ACCELERATOR_PREFIX))
            return None if gigabytes is None else math.floor(gigabytes * 1e9 * _USABLE_SHARE)
    return None


def this_machine(gpu_memory: int | None = None) -> ClusterNode:
    """Return this machine, as a Ray that is started here would describe it."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ClusterNode(
        cpus=float(os.cpu_count() or 1),
        gpus=gpus,
        memory=psutil.virtual_memory().available,
        gpu_memory=gpu_memory or (_smallest_gpu_memory(torch) if gpus else None),
    )


def _smallest_gpu_memory(torch: Any) -> int:
    """Return the bytes of the smallest GPU of this machine."""
    indices = range(torch.cuda.device_count())
    return min(int(torch.cuda.get_device_properties(i).total_memory) for i in indices)


def with_local_gpu_memory(nodes: Sequence[ClusterNode]) -> list[ClusterNode]:
    """Return the nodes; where this machine is the whole cluster, with its GPUs' true memory."""
    if len(nodes) != 1 or not nodes[0].gpus or nodes[0].gpu_memory:
        return list(nodes)
    return [replace(nodes[0], gpu_memory=this_machine().gpu_memory)]


def plan_cluster_placement(
    resources: Resources, shards: int, sizes: ModelSizes = UNKNOWN_SIZES
) -> Placement:
    """Return the actors for so many shards; in a local session this process.

    sizes: bytes of the weights, where they are known. Raises InsufficientResources, before
    anything is started, if the cluster cannot hold them.
    """
    if not uses_ray():
        return LOCAL_PLACEMENT
    nodes = with_local_gpu_memory(cluster_nodes(resources.gpu_memory))
    return plan_placement(nodes, sizes, resources, shards)


def count_threads() -> int:
    """Return the number of threads that this process may use."""
    return len(os.sched_getaffinity(0))


def cluster_cpus() -> int:
    """Count the CPUs of the cluster, at least 1; 1 without Ray."""
    if not uses_ray():
        return 1
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def actor_resources() -> tuple[int, float, float]:
    """Return how many actors share the cluster, and the CPUs and GPUs of each.

    One actor per GPU, or per CPU where there is no GPU; without Ray one worker and no GPU.
    """
    if not uses_ray():
        return 1, 1.0, 0.0
    import ray

    available = ray.cluster_resources()
    gpus, cpus = available.get("GPU", 0.0), available.get("CPU", 1.0)
    actors = max(1, int(gpus or cpus))
    return actors, equal_share(cpus, actors), equal_share(gpus, actors)


_SEARCH_CPUS = 8  # of an actor without a GPU: more threads wait for each other


def search_resources() -> tuple[int, float, float]:
    """Return how many actors search for neighbors, and the CPUs and GPUs of each.

    One actor per GPU with its share of its node's CPUs, or actors that share the CPUs of nodes
    without GPUs in groups of up to eight; without Ray one worker.
    """
    if not uses_ray():
        return 1, float(count_threads()), 0.0
    nodes = cluster_nodes()
    with_gpus = [node for node in nodes if node.gpus]
    if with_gpus:
        cpus = min(node.cpus // node.gpus for node in with_gpus)
        return sum(node.gpus for node in with_gpus), max(1.0, cpus), 1.0
    cpus = min([max(1.0, node.cpus // 1) for node in nodes if node.cpus] + [_SEARCH_CPUS])
    return max(1, sum(int(node.cpus // cpus) for node in nodes)), cpus, 0.0


# An actor is started again after its process has died, and does its work again.
MAX_RESTARTS = 3


def equal_share(available: float, takers: int) -> float:
    """Return 1, or 1/n if n takers must share one, so that no taker needs parts of two."""
    return 1.0 / math.ceil(takers / available) if available else 0.0


def gpu_bytes_for_features() -> float:
    """Return how many bytes of features the smallest GPU of the cluster holds for a search."""
    nodes = with_local_gpu_memory(cluster_nodes()) if uses_ray() else []
    sizes = [node.gpu_memory for node in nodes if node.gpus]
    return (
        min((size or _UNNAMED_GPU_BYTES for size in sizes), default=_UNNAMED_GPU_BYTES)
        - _GPU_OVERHEAD
    )
