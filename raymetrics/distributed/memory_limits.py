"""Decide what fits into memory: of the driver, of an actor, of a GPU.

Searches count all memory of a machine, so that a rerun cuts equal partitions; all else counts
what is free. What one pass over the shards may gather is decided where the pass is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from raymetrics.distributed.nodes import (
    actor_resources,
    count_threads,
    gpu_bytes_for_features,
    measure_memory,
    search_resources,
    tightest_machine,
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


def require_free_memory(needed: float, demand: str, advice: str, free: int | None = None) -> None:
    """Raise InsufficientResources if fewer bytes are free than are needed.

    demand: what needs them, with the verb: "weights of 10 candidates need". free: by default what
    is free on this machine.
    """
    free = measure_memory("available") if free is None else free
    if needed > free:
        raise InsufficientResources(
            f"{demand} {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; {advice}"
        )


def fits_in_driver(views: Mapping[str, View], column: str) -> bool:
    """Return whether the features of both sides fit into the memory of the driver."""
    rows = sum(map(len, views.values()))
    size = 4 * views["real"].shards.columns[column].dimension * rows
    room = measure_memory("total") * _MEMORY_SHARE / _BASE_COPIES
    return size <= min(_SEARCHED_IN_DRIVER_BYTES, room)


def max_base_rows(dimension: int) -> int:
    """Return how many rows a partition may have: a power of two that fits every actor and its GPU.

    Counts all memory of a machine, not only what is free, so that a rerun cuts equal partitions.
    Raises InsufficientResources if not even 1024 rows fit.
    """
    actors, _, gpus = resources = search_resources()
    machine, sharers = tightest_machine(resources, "total")
    memory = machine * _MEMORY_SHARE / sharers
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
    """Where the partitions are held: in the driver's memory or in actors', and there as tensors on
    GPUs; and whether they stay there."""

    in_driver: bool
    keep: bool
    on_device: bool = False


def plan_partitions(
    view: View, dimension: int, in_memory: bool | None = None, vectors: int = _DRIVER_VECTORS
) -> PartitionPlan:
    """Plan where the partitions of a view are held, for passes over weights; needs a session.

    InsufficientResources if they do not fit into memory.

    in_memory: True for the driver's memory, False for actors; by default the driver's if there is
    no GPU and the features are few enough. vectors: float64 numbers that the driver holds of each
    weight.

    With actors, the machine with the least memory for each is taken to be the driver's too.
    """
    actors, _, gpus = resources = actor_resources()
    if not uses_ray():
        in_memory = True  # there is nobody else to hold them
    on_device = bool(gpus) and not in_memory
    rows = [sum(map(view.count, p)) for p in partition_shards(view, dimension, on_device)]
    machine, sharers = tightest_machine(resources, "available")
    feature_bytes = 4 * dimension * sum(rows)
    part = _PARTITION_COPIES * (4 * dimension * max(rows) + 8 * dimension**2)
    driver_bytes = 8 * (_DRIVER_MATRICES * dimension**2 + vectors * sum(rows))
    bytes_in_driver = driver_bytes + feature_bytes + part * min(len(rows), count_threads())
    bytes_with_actors = driver_bytes + part * min(len(rows), sharers)
    here = measure_memory("available")
    if in_memory is None:
        in_memory = not gpus and feature_bytes <= _HELD_IN_DRIVER_BYTES and bytes_in_driver <= here
    require_free_memory(
        bytes_in_driver if in_memory else bytes_with_actors,
        f"weights of {sum(rows)} candidates of {dimension} dimensions need",
        "use smaller shards, fewer candidates, or a larger machine",
        here if in_memory else machine,
    )
    # A GPU holds as many partitions as it has memory for; see `PartitionWorker`.
    keep = on_device or bytes_with_actors + feature_bytes * sharers / actors <= machine
    return PartitionPlan(in_memory, in_memory or keep, on_device)
