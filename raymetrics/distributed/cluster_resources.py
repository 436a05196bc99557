"""What a stream asks of the cluster that it runs on."""

from __future__ import annotations

import math

from raymetrics.distributed.nodes import nodes_of_ray, with_memory_here
from raymetrics.distributed.placement import place
from raymetrics.distributed.resources import UNKNOWN, Placement, Resources, Sizes

__all__ = ["Resources", "equal_part", "placement"]


def placement(resources: Resources, units: int, sizes: Sizes = UNKNOWN) -> Placement:
    """The pools for so many units, on the cluster that this process is connected to.

    sizes: of the weights, where they are known. PlanTooLarge for what cannot be; nothing has been
    started then.
    """
    nodes = with_memory_here(nodes_of_ray(resources.gpu_memory))
    return place(nodes, sizes, resources, units)


def equal_part(available: float, takers: int) -> float:
    """1, or 1/n if n takers must share one; so that no share needs parts of two."""
    return 1.0 / math.ceil(takers / available) if available else 0.0
