"""Define an actor that reports where it runs, to test how Ray applies a placement."""

from __future__ import annotations

from typing import Any

import ray

Seat = tuple[str, tuple[str, ...]]  # a node, and GPUs of it


class Sitter:
    """An actor that takes the place of a worker and loads nothing."""

    def seat(self) -> Seat:
        """Return this actor's node and GPUs."""
        return seat()


def seat() -> Seat:
    """Return the node and the GPUs of the calling worker."""
    context = ray.get_runtime_context()
    return context.get_node_id(), tuple(context.get_accelerator_ids().get("GPU", ()))


def collect_seats(pools: Any, patience: float) -> list[list[Seat]]:
    """Return the seats of the actors of each pool, all alive at the same time, generators first.

    Raises GetTimeoutError if one of them gets no place.
    """
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
