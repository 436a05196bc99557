"""Decide what fits into memory: of the driver, of an actor, of a GPU.

Searches count all memory of a machine, so that a rerun cuts equal partitions; all else counts
what is free. What one pass over the shards may gather is decided where the pass is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import psutil

from raymetrics.distributed.nodes import (
    actor_resources,
    cluster_nodes,
    count_threads,
    gpu_bytes_for_features,
    search_resources,
)
from raymetrics.distributed.partitioned_features import partition_shards
from raymetrics.distributed.session import uses_ray
from raymetrics.errors import InsufficientResources
from raymetrics.shards.view import View

# Searches for neighbors.
_SEARCHED_IN_DRIVER_BYTES = 400_000_000  # of features that the driver searches by itself
_BASE_COPIES = 6  # of a partition: two are read and centered, and each has sketches
_GPU_COPIES = 4  # of a partition: two are there, rounded too, beside tiles
_CPU_ROWS = 2**16  # of a partition, without a GPU
_MEMORY_SHARE = 0.4  # of a machine, for bases

# Passes over weights.
_HELD_IN_DRIVER_BYTES = 4_000_000_000  # of features that the driver holds without actors
_PARTITION_COPIES = 4  # of a partition while it is read and centered; and of its moments
_DRIVER_MATRICES = 16  # d x d in float64
_DRIVER_VECTORS = 80  # of all weights in float64: the optimizer, and its saved state


def free_memory() -> int:
    """Return the bytes of memory that are free on this machine."""
    return int(psutil.virtual_memory().available)


def _total_memory() -> int:
    """Return the bytes of memory of this machine."""
    return int(psutil.virtual_memory().total)


def require_free_memory(needed: float, demand: str, advice: str) -> None:
    """Raise InsufficientResources if fewer bytes are free than are needed.

    demand: what needs them, with the verb: "weights of 10 candidates need".
    """
    free = free_memory()
    if needed > free:
        raise InsufficientResources(
            f"{demand} {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; {advice}"
        )


def fits_in_driver(views: Mapping[str, View], column: str) -> bool:
    """Return whether the features of both sides fit into the memory of the driver."""
    rows = sum(map(len, views.values()))
    size = 4 * views["real"].shards.columns[column].dimension * rows
    return size <= min(_SEARCHED_IN_DRIVER_BYTES, _total_memory() * _MEMORY_SHARE / _BASE_COPIES)


def max_base_rows(dimension: int) -> int:
    """Return how many rows a partition may have: a power of two that fits every actor and its GPU.

    Counts all memory of the machine, not only what is free, so that a rerun cuts equal partitions.
    Raises InsufficientResources if not even 1024 rows fit.
    """
    actors, _, gpus = search_resources()
    nodes = max(1, len(cluster_nodes())) if uses_ray() else 1
    memory = _total_memory() * _MEMORY_SHARE / math.ceil(actors / nodes)
    rows = memory / (_BASE_COPIES * 4 * dimension)
    if gpus:
        rows = min(rows, gpu_bytes_for_features() * gpus / (_GPU_COPIES * 4 * dimension))
    if rows < 1024:
        raise InsufficientResources(
            f"{actors} actors that search {dimension} dimensions have {memory / 1e9:.1f} GB each, "
            f"enough for {rows:.0f} rows; it takes 1024: use fewer CPUs, or a larger machine"
        )
    return int(2 ** np.floor(np.log2(rows)))


def partition_rows(dimension: int, rows: int) -> int:
    """Return how many rows of a set of `rows` to search at a time, a power of two.

    As many as fit, but so few that all actors have pairs of partitions to search, and that CPUs
    finish a pair in minutes.
    """
    actors, _, gpus = search_resources()
    fitting = max_base_rows(dimension) if gpus else min(max_base_rows(dimension), _CPU_ROWS)
    # p partitions of a set make p (p + 1) / 2 pairs, and each actor should have two.
    parts = math.ceil(2 * actors**0.5) if actors > 1 else 1
    return min(fitting, int(2 ** np.ceil(np.log2(max(1024, rows / parts)))))


@dataclass(frozen=True)
class PartitionPlan:
    """Whether the driver holds the partitions, and whether they stay in memory."""

    in_driver: bool
    keep: bool


def plan_partitions(
    view: View, dimension: int, in_memory: bool | None = None, vectors: int = _DRIVER_VECTORS
) -> PartitionPlan:
    """Plan where the partitions of a view are held, for passes over weights; needs a session.

    InsufficientResources if they do not fit into memory.

    in_memory: True for the driver's memory, False for actors; by default the driver's if there is
    no GPU and the features are few enough. vectors: float64 numbers that the driver holds of each
    weight.
    """
    rows = [sum(map(view.count, part)) for part in partition_shards(view, dimension)]
    free = free_memory()
    actors, _, gpus = actor_resources()
    nodes = max(1, len(cluster_nodes())) if uses_ray() else 1
    if not uses_ray():
        in_memory = True  # there is nobody else to hold them
    feature_bytes = 4 * dimension * sum(rows)
    part = _PARTITION_COPIES * (4 * dimension * max(rows) + 8 * dimension**2)
    driver_bytes = 8 * (_DRIVER_MATRICES * dimension**2 + vectors * sum(rows))
    bytes_in_driver = driver_bytes + feature_bytes + part * min(len(rows), count_threads())
    bytes_with_actors = driver_bytes + part * min(len(rows), actors) / nodes
    if in_memory is None:
        in_memory = not gpus and feature_bytes <= _HELD_IN_DRIVER_BYTES and bytes_in_driver <= free
    needed_bytes = bytes_in_driver if in_memory else bytes_with_actors
    require_free_memory(
        needed_bytes,
        f"weights of {sum(rows)} candidates of {dimension} dimensions need",
        "use smaller shards, fewer candidates, or a larger machine",
    )
    if gpus:
        keep = feature_bytes / actors + part <= gpu_bytes_for_features() * gpus
    else:
        keep = bytes_with_actors + feature_bytes / nodes <= free
    return PartitionPlan(in_driver=in_memory, keep=in_memory or keep)
