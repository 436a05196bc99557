"""Define an actor that reports where it runs, to test how Ray applies a placement."""

from __future__ import annotations

import ray

from raymetrics.distributed.reserved_gpus import reserved_gpus
from raymetrics.distributed.resources import ActorPool

Seat = tuple[str, tuple[str, ...]]  # a node, and GPUs of it


class Sitter:
    """An actor that takes the place of a worker and loads nothing."""

    def seat(self) -> Seat:
        """Return this actor's node and GPUs."""
        return seat()


def seat() -> Seat:
    """Return the node and the GPUs of the calling worker."""
    return ray.get_runtime_context().get_node_id(), tuple(reserved_gpus())


def collect_seats(pool: ActorPool, patience: float) -> list[Seat]:
    """Return the seats of the actors of a pool, all alive at the same time.

    Raises GetTimeoutError if one of them gets no place.
    """
    sitter_class = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, memory=pool.memory or None)(
        Sitter
    )
    sitters = [sitter_class.remote() for _ in range(pool.actors)]
    try:
        return ray.get([sitter.seat.remote() for sitter in sitters], timeout=patience)
    finally:
        for sitter in sitters:
            ray.kill(sitter)
