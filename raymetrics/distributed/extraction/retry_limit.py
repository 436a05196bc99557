"""Work that may end its process is begun a few times and not for ever.

Ray restarts a worker that dies, and gives it the same unit again, however often it dies of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MAX_ATTEMPTS = 3  # beginnings of a unit, of which none ended

_Done = TypeVar("_Done")


class AttemptCounter:
    """An actor: how often each unit was begun and not ended."""

    def __init__(self) -> None:
        self.attempts_by_unit: dict[str, int] = {}
        self.repeats = 0

    def begin(self, unit: str) -> int:
        """How often it was begun, this time included."""
        self.attempts_by_unit[unit] = self.attempts_by_unit.get(unit, 0) + 1
        self.repeats += self.attempts_by_unit[unit] > 1
        return self.attempts_by_unit[unit]

    def end(self, unit: str) -> None:
        """It came to an end, so its worker lived."""
        self.attempts_by_unit.pop(unit, None)

    def count_lost(self) -> int:
        """How many beginnings came to no end."""
        return self.repeats


def start_attempt_counter() -> Any:
    """A new actor, on the driver's machine, so that it lives as long as the driver does."""
    on_driver = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(AttemptCounter).options(num_cpus=0, scheduling_strategy=on_driver).remote()


def run_with_limit(
    attempt_counter: Any, unit: str, work: Callable[[], _Done], on_limit: Callable[[int], _Done]
) -> _Done:
    """What the work gives; or, of a unit that ended its worker `MOST` times, what `refused` gives
    for that number. of: the actor, or None where nothing is counted."""
    if attempt_counter is None:
        return work()
    if ray.get(attempt_counter.begin.remote(unit)) > MAX_ATTEMPTS:
        return on_limit(MAX_ATTEMPTS)
    done = work()
    attempt_counter.end.remote(unit)
    return done
