"""What a match tells on its way, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.attacks.top1_rejection import Matcher
from raymetrics.results import Result
from raymetrics.shards.shard_set import ShardSet


@dataclass(frozen=True)
class OpenBin:
    """A class that lacks samples, and about how many more draws it needs."""

    number: int
    name: str
    filled: int
    target: int
    draws: float


@dataclass(frozen=True)
class MatchProgress:
    """How far a match is, after a shard.

    rate: samples made a second, from the first shard to this one; 0 while shards are read.
    """

    full: int
    bins: int
    accepted: int
    n: int
    draws: int
    rate: float
    rarest: tuple[OpenBin, ...]  # those that need the most draws first

    @property
    def draws_to_go(self) -> float:
        """About how many; infinite while a class has never been drawn."""
        return self.rarest[0].draws if self.rarest else 0.0


@dataclass(frozen=True, eq=False)
class MatchResult:
    """What `match` found, as it is in accepted.parquet at `path`."""

    path: str
    shards: ShardSet
    column: str
    class_names: Sequence[str]
    sample_ids: np.ndarray  # int64 [accepted], ascending
    classes: np.ndarray  # int64 [accepted]
    matcher: Matcher  # targets, draws by class, what is unfilled
    first: int  # the first id looked at
    shards_made: int  # shards, in this run
    seconds: float
    numbers: Sequence[Result] = ()  # of matched and of random sets

    @property
    def complete(self) -> bool:
        """Whether every bin is full."""
        return self.matcher.is_full

    @property
    def draws(self) -> int:
        """How many samples were looked at; the last has the id first + draws - 1."""
        return self.matcher.total_draws
