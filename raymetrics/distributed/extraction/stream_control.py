"""How far a stream may go, and how often its workers have begun each piece of work.

The consumer of a stream lets shards in; for a match it decides shard by shard how many are needed.
Ray starts a new worker in the place of one that died, and gives it the same shard without end: so
every worker counts here what it begins, and a shard that reaches the limit is recorded as failed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from raymetrics.distributed.session import uses_ray

MAX_ATTEMPTS = 3  # how often work is begun, if it never ends
_POLL_SECONDS = 0.02  # a shard takes seconds

_Done = TypeVar("_Done")


class StreamControl:
    """The state that the consumer, the source and the workers of one stream share."""

    def __init__(self) -> None:
        self.open_to, self.closed = 0, False
        self.attempts: dict[str, float] = {}
        self.repeats = 0

    def open(self, shards: int = sys.maxsize) -> None:
        """Let the first `shards` shards in, by default all."""
        self.open_to = max(shards, self.open_to)

    def close(self) -> None:
        """Let no further shard in."""
        self.closed = True

    def admits(self, number: int) -> bool | None:
        """Return whether shard `number` may be begun; None if that is not decided yet."""
        return True if number < self.open_to else False if self.closed else None

    def begin(self, work: str) -> float:
        """Count a beginning of some work; return how many there were since it last ended."""
        before = self.attempts.get(work, 0)
        self.attempts[work] = before + 1
        self.repeats += before > 0
        return before + 1

    def halve(self, work: str) -> None:
        """Count the last beginning as a half: what follows hardly ends a worker by itself."""
        self.attempts[work] -= 0.5

    def end(self, work: str) -> None:
        """Forget the beginnings of work that has ended: its worker lives."""
        self.attempts.pop(work, None)

    def count_repeats(self) -> int:
        """Return how often work was begun again, as its worker had died."""
        return self.repeats

    def stop(self) -> None:
        """Release what the control holds."""


class SharedControl:
    """A `StreamControl` in an actor, on the driver's machine: it lives as long as the driver.

    Calls that return nothing are not waited for.
    """

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": node}
        self._actor: Any = ray.remote(StreamControl).options(**options).remote()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        import ray

        method = getattr(self._actor, name).remote
        if name in ("open", "halve", "end"):
            return method
        return lambda *arguments: ray.get(method(*arguments))

    def stop(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self._actor)


def start_control() -> StreamControl:
    """Return the control of a stream of this session, which lets no shard in yet."""
    return cast(StreamControl, SharedControl()) if uses_ray() else StreamControl()


def wait_until_admitted(control: StreamControl, number: int) -> bool:
    """Wait until shard `number` may be begun; return False if it never will be."""
    while (admitted := control.admits(number)) is None:
        time.sleep(_POLL_SECONDS)
    return admitted


def begin_with_limit(control: StreamControl, work: str) -> None:
    """Count a beginning of some work; raise TooManyAttempts if it ended its worker too often."""
    if control.begin(work) > MAX_ATTEMPTS:
        raise TooManyAttempts


class TooManyAttempts(Exception):
    """Work that ended its worker `MAX_ATTEMPTS` times, and is not begun again."""
