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


def collect_seats(pools: Any, patience: float) -> list[list[Seat]]:
    """Where the actors of each pool are, all of them at the same time; GetTimeoutError if one of
    them has no place. Generators first, as in a stream."""
    sitters_by_pool = [
        [
            ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, memory=pool.memory or None)(
                Sitter
            ).remote()
            for _ in range(pool.actors)
        ]
        for pool in pools
    ]
    try:
        pending = [[sitter.seat.remote() for sitter in sitters] for sitters in sitters_by_pool]
        return [ray.get(seats, timeout=patience) for seats in pending]
    finally:
        for sitters in sitters_by_pool:
            for sitter in sitters:
                ray.kill(sitter)
