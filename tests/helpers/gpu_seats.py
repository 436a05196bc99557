"""An actor that tells where it is, and loads nothing: for what Ray makes of a placement."""

from __future__ import annotations

from typing import Any

import ray

Seat = tuple[str, tuple[str, ...]]  # a node, and GPUs of it


class Sitter:
    """Takes the place of a worker."""

    def seat(self) -> Seat:
        """Its own."""
        return seat()


def seat() -> Seat:
    """Of the worker that asks."""
    context = ray.get_runtime_context()
    return context.get_node_id(), tuple(context.get_accelerator_ids().get("GPU", ()))


def seats_of(pools: Any, patience: float) -> list[list[Seat]]:
    """Where the actors of each pool are, all of them at the same time; GetTimeoutError if one of
    them has no place. Generators first, as in a stream."""
    held = [
        [
            ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, memory=pool.memory or None)(
                Sitter
            ).remote()
            for _ in range(pool.actors)
        ]
        for pool in pools
    ]
    try:
        asked = [[sitter.seat.remote() for sitter in sitters] for sitters in held]
        return [ray.get(some, timeout=patience) for some in asked]
    finally:
        for sitters in held:
            for sitter in sitters:
                ray.kill(sitter)
