"""How many actors, on what, and how much at a time."""

from __future__ import annotations

from dataclasses import dataclass

import ray
import torch

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


def device() -> torch.device:
    """The accelerator that Ray gave to this worker, or the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def actors_and_gpus(resources: Resources) -> tuple[int, float]:
    """How many actors, and the GPUs of each: a whole one where the cluster has any."""
    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    wanted = resources.actors or gpus or max(cpus, 1)
    return (wanted, min(1.0, gpus / wanted)) if gpus else (wanted, 0.0)
