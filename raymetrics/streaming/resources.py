"""What a stream asks of the cluster that it runs on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import ray

from raymetrics.streaming.cluster import nodes_of_ray, with_memory_here
from raymetrics.streaming.placement import place
from raymetrics.streaming.pools import UNKNOWN, Placement, Resources, Sizes

__all__ = ["Resources", "Share", "equal_part", "placement", "share"]


def placement(resources: Resources, units: int, sizes: Sizes = UNKNOWN) -> Placement:
    """The pools for so many units, on the cluster that this process is connected to.

    sizes: of the weights, where they are known. PlanTooLarge for what cannot be; nothing has been
    started then.
    """
    nodes = with_memory_here(nodes_of_ray(resources.gpu_memory))
    return place(nodes, sizes, resources, units)


@dataclass(frozen=True)
class Share:
    """What each actor of a pool asks Ray for."""

    actors: int
    cpus: float
    gpus: float


def share(resources: Resources, at_most: int) -> Share:
    """The pool's size, `at_most` this, and the part of the cluster of each actor.

    A whole GPU each where the cluster has any, or an equal part of one if there are more actors;
    likewise a whole CPU. With two pools both get the same number of actors.
    """
    there = ray.cluster_resources()
    gpus, cpus = there.get("GPU", 0.0), there.get("CPU", 1.0)
    actors = min(resources.actors or int(gpus or cpus) or 1, at_most)
    pools = 2 if resources.two_pools else 1
    return Share(actors, equal_part(cpus, pools * actors), equal_part(gpus, actors))


def equal_part(available: float, takers: int) -> float:
    """1, or 1/n if n takers must share one; so that no share needs parts of two."""
    return 1.0 / math.ceil(takers / available) if available else 0.0
