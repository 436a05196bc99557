"""Limit how often a unit of a shard is begun again after the process of its worker died.

Ray starts a new worker in the place of one that died, and gives it the same unit without end. The
stages (`raymetrics.distributed.extraction.stages`) begin every unit through this limit; a unit that
reaches it is recorded as failed, and its shard is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

MAX_ATTEMPTS = 3  # how often a unit is begun, if it never ends

_Done = TypeVar("_Done")


class AttemptCounter:
    """Counts how often each unit was begun and not ended; an actor."""

    def __init__(self) -> None:
        self.attempts_by_unit: dict[str, int] = {}
        self.repeats = 0

    def begin(self, unit: str) -> int:
        """Count a beginning of the unit; return how many there were."""
        self.attempts_by_unit[unit] = self.attempts_by_unit.get(unit, 0) + 1
        self.repeats += self.attempts_by_unit[unit] > 1
        return self.attempts_by_unit[unit]

    def end(self, unit: str) -> None:
        """Forget the beginnings of a unit that has ended: its worker lives."""
        self.attempts_by_unit.pop(unit, None)

    def count_repeats(self) -> int:
        """Return how often a unit was begun again, as its worker had died."""
        return self.repeats


def start_attempt_counter() -> Any:
    """Start the actor on the driver's machine, so that it lives as long as the driver does."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    on_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(AttemptCounter).options(num_cpus=0, scheduling_strategy=on_driver).remote()


def run_with_limit(
    attempt_counter: Any, unit: str, work: Callable[[], _Done], on_limit: Callable[[int], _Done]
) -> _Done:
    """Return `work()`, or `on_limit(n)` for a unit that ended its worker n = MAX_ATTEMPTS times.

    attempt_counter: the actor that counts; None counts nothing.
    """
    import ray

    if attempt_counter is None:
        return work()
    if ray.get(attempt_counter.begin.remote(unit)) > MAX_ATTEMPTS:
        return on_limit(MAX_ATTEMPTS)
    done = work()
    attempt_counter.end.remote(unit)
    return done
