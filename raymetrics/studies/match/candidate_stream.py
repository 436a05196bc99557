"""The draws of a match in the order of their ids: of shards that are there and of those to make."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import ray

from raymetrics import sample_ranges
from raymetrics.distributed.cluster_resources import Resources
from raymetrics.distributed.extraction.pipeline import Made, Plan, Target, stream
from raymetrics.distributed.extraction.sequel import Piece, Sequel, ToMake
from raymetrics.distributed.extraction.work_units import Gate
from raymetrics.errors import ShardError
from raymetrics.studies.match.shard_draws import Draws, draws_of

GROUP = 4  # shards to a task that reads


def read_draws(uri: str, present: Sequence[range], logits: str) -> Iterator[Draws]:
    """The draws of shards that are there, in order; some groups are read ahead, in parallel."""
    # They ask for no processor, as actors that wait for the next shard may hold them all.
    task = ray.remote(draws_of).options(num_cpus=0)
    groups = (present[i : i + GROUP] for i in range(0, len(present), GROUP))
    at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[ray.ObjectRef[list[Draws]]] = deque()
    for group in groups:
        waiting.append(task.remote(uri, group, logits))
        if len(waiting) > at_once:
            yield from ray.get(waiting.popleft())
    while waiting:
        yield from ray.get(waiting.popleft())


class Supply:
    """Gives the draws of a sequel one shard after another, and begins no more than it is told to.

    A context: whatever ends it, no actor is left. The actors are started with the first shard that
    is to be made.
    """

    def __init__(self, sequel: Sequel, target: Target, logits: str, resources: Resources) -> None:
        self._pieces = iter(sequel)
        self._ahead: deque[Piece] = deque()
        self._begun = 0  # shards to make that may be begun
        self._plan = Plan([replace(target, todo=ToMake(sequel))], logits)
        self._resources = resources
        self._there = read_draws(target.uri, sequel.there, logits)
        self._gate: Any = None
        self._made: Iterator[Made] = iter(())

    def __enter__(self) -> Supply:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._made, "close", None)
        if close:
            close()
        if self._gate is not None:
            ray.kill(self._gate)

    def next(self, window: int) -> Draws | Made | None:
        """The next shard's draws, while so many shards from it on may be under way; None at the
        end of the sequel."""
        self._admit(window)
        if not self._ahead:
            return None
        piece = self._ahead.popleft()
        return next(self._there) if piece.there else self._next_made(piece.ids)

    def rest(self) -> Iterator[Made]:
        """Begins no further shard; those that were begun, once they are made."""
        if self._gate is not None:
            ray.get(self._gate.close.remote())
        return self._made

    def _admit(self, window: int) -> None:
        while len(self._ahead) < window:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._ahead.append(piece)
            self._begun += not piece.there
        if self._gate is not None:
            self._gate.open.remote(self._begun)

    def _next_made(self, ids: range) -> Made:
        if self._gate is None:
            self._gate = ray.remote(Gate).options(num_cpus=0, max_concurrency=16).remote()
            self._gate.open.remote(self._begun)
            self._made = stream(replace(self._plan, gate=self._gate), self._resources)
        made = next(self._made, None)
        if made is None or made.ids != ids:
            found = None if made is None else sample_ranges.describe(made.ids)
            raise ShardError(
                f"the stream gave samples {found}, expected {sample_ranges.describe(ids)}"
            )
        return made.checked()
