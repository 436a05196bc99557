"""How many actors, on what, and how much at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import ray

from raymetrics.errors import RangeError


@dataclass(frozen=True)
class Resources:
    """How a stream is laid out on the cluster. None of it changes a number.

    actors: workers that generate and extract; None: one per GPU, or per CPU without any.
    batch: samples that go through an actor at a time.
    fused: both networks in one actor, so that images never leave it; otherwise two pools.
    """

    actors: int | None = None
    batch: int = 64
    fused: bool = True

    def __post_init__(self) -> None:
        for name in ("actors", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RangeError(f"{name} is {value}, expected at least 1")


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
    pools = 1 if resources.fused else 2
    return Share(actors, equal_part(cpus, pools * actors), equal_part(gpus, actors))


def equal_part(available: float, takers: int) -> float:
    """1, or 1/n if n takers must share one; so that no share needs parts of two."""
    return 1.0 / math.ceil(takers / available) if available else 0.0
