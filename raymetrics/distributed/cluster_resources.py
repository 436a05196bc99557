"""What a stream asks of the cluster that it runs on."""

from __future__ import annotations

import math

from raymetrics.distributed.nodes import cluster_nodes, with_local_gpu_memory
from raymetrics.distributed.placement import plan_placement
from raymetrics.distributed.resources import UNKNOWN_SIZES, ModelSizes, Placement, Resources

__all__ = ["Resources", "equal_share", "plan_cluster_placement"]


def plan_cluster_placement(
    resources: Resources, units: int, sizes: ModelSizes = UNKNOWN_SIZES
) -> Placement:
    """The pools for so many units, on the cluster that this process is connected to.

    sizes: of the weights, where they are known. PlanTooLarge for what cannot be; nothing has been
    started then.
    """
    nodes = with_local_gpu_memory(cluster_nodes(resources.gpu_memory))
    return plan_placement(nodes, sizes, resources, units)


def equal_share(available: float, takers: int) -> float:
    """1, or 1/n if n takers must share one; so that no share needs parts of two."""
    return 1.0 / math.ceil(takers / available) if available else 0.0
