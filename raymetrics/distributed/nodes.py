"""The machines that there are: a cluster's, or this one as a local Ray would see it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import psutil
import ray

from raymetrics.distributed.resources import ClusterNode

# Ray knows of a GPU only what it is called. Of each name the smallest that is sold, in GB; 3 % are
# taken off, as a device has less than its name says.
GPU_GIGABYTES = {
    "T4": 16, "P4": 8, "P100": 12, "V100": 16, "A10G": 24, "A10": 24, "A30": 24, "A40": 48,
    "L4": 24, "L40S": 48, "A100": 40, "A100-40G": 40, "A100-80G": 80, "H100": 80, "H20": 96,
    "H200": 141, "B200": 180, "B300": 270, "GB200": 186, "RTX-PRO-6000": 96,
}  # fmt: skip
_USABLE_SHARE = 0.97
_ACCELERATOR_PREFIX = "accelerator_type:"


def cluster_nodes(gpu_memory: int | None = None) -> list[ClusterNode]:
    """The living nodes of the cluster that this process is connected to."""
    return [
        node_from_resources(node["Resources"], gpu_memory) for node in ray.nodes() if node["Alive"]
    ]


def node_from_resources(
    resources: Mapping[str, float], gpu_memory: int | None = None
) -> ClusterNode:
    """A node by what Ray says of it; gpu_memory: of each GPU, where the user knows it."""
    memory = resources.get("memory")
    return ClusterNode(
        cpus=resources.get("CPU", 0.0),
        gpus=int(resources.get("GPU", 0)),
        memory=None if memory is None else int(memory),
        gpu_memory=gpu_memory or _gpu_memory_by_name(resources),
    )


def _gpu_memory_by_name(resources: Mapping[str, float]) -> int | None:
    """The bytes of a node's GPUs by their name; None for a name that is not known."""
    for name in resources:
        if name.startswith(_ACCELERATOR_PREFIX):
            gigabytes = GPU_GIGABYTES.get(name.removeprefix(_ACCELERATOR_PREFIX))
            return None if gigabytes is None else math.floor(gigabytes * 1e9 * _USABLE_SHARE)
    return None


def this_machine(gpu_memory: int | None = None) -> ClusterNode:
    """What a Ray that is started here would have."""
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ClusterNode(
        cpus=float(os.cpu_count() or 1),
        gpus=gpus,
        memory=psutil.virtual_memory().available,
        gpu_memory=gpu_memory or (_smallest_gpu_memory(torch) if gpus else None),
    )


def _smallest_gpu_memory(torch: Any) -> int:
    """The bytes of the smallest GPU of this machine."""
    indices = range(torch.cuda.device_count())
    return min(int(torch.cuda.get_device_properties(i).total_memory) for i in indices)


def with_local_gpu_memory(nodes: Sequence[ClusterNode]) -> list[ClusterNode]:
    """Of a cluster that is this machine alone, the GPUs' memory as they tell it themselves."""
    if len(nodes) != 1 or not nodes[0].gpus or nodes[0].gpu_memory:
        return list(nodes)
    return [replace(nodes[0], gpu_memory=this_machine().gpu_memory)]
