"""What metrics need of a survey of manifolds, so that one survey serves all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raymetrics.metrics.conventions import Convention

BOTH_SIDES = ("real", "generated")


@dataclass(frozen=True, order=True)
class BallKind:
    """A kind of balls: each reaches to the k-th nearest neighbor of its center on its side.

    clipped: but no further than the median of these distances. sides: whose samples have balls.
    """

    k: int
    ball: Literal["closed", "open"] = "closed"
    clipped: bool = False
    sides: tuple[str, ...] = BOTH_SIDES


@dataclass(frozen=True, order=True)
class Reach:
    """One radius for a whole side: a multiple of the mean distance to the k-th neighbor."""

    k: int
    factor: float


@dataclass(frozen=True)
class SurveyNeeds:
    """What is searched in a survey; those of several metrics are joined with `|`."""

    convention_sides: frozenset[str] = frozenset()  # whose samples have the balls of every --k
    count: bool = False  # count the balls of a point and the points of a ball
    realism: bool = False
    kinds: frozenset[BallKind] = frozenset()  # of further balls
    among_real: frozenset[BallKind] = frozenset()  # in which the other real samples are counted
    nearest: frozenset[tuple[str, int]] = frozenset()  # (side, k): distances to so many others
    nearest_across: int = 0  # distances to so many of the other side
    reaches: frozenset[Reach] = frozenset()

    @classmethod
    def of_convention(
        cls, *, count: bool = False, realism: bool = False, sides: Sequence[str] = BOTH_SIDES
    ) -> SurveyNeeds:
        """Return the need of the balls of a convention: of every k."""
        return cls(convention_sides=frozenset(sides), count=count, realism=realism)

    def __or__(self, other: SurveyNeeds) -> SurveyNeeds:
        """Return what serves both."""
        return SurveyNeeds(
            self.convention_sides | other.convention_sides,
            self.count or other.count,
            self.realism or other.realism,
            self.kinds | other.kinds,
            self.among_real | other.among_real,
            self.nearest | other.nearest,
            max(self.nearest_across, other.nearest_across),
            self.reaches | other.reaches,
        )

    def all_kinds(self, convention: Convention) -> list[BallKind]:
        """Return every kind of balls, those of the convention first, in a fixed order."""
        sides = tuple(side for side in BOTH_SIDES if side in self.convention_sides)
        own = [BallKind(k, convention.ball, sides=sides) for k in convention.ks] if sides else []
        return [*own, *sorted(self.kinds)]

    def neighbors_of(self, side: str) -> list[int]:
        """Return the numbers of neighbors whose distances are asked for."""
        return [k for of_side, k in self.nearest if of_side == side]

    def largest_k(self, side: str, convention: Convention) -> int:
        """Return how many neighbors of each sample are searched on its side; 0 for none."""
        of_balls = [kind.k for kind in self.all_kinds(convention) if side in kind.sides]
        of_reaches = [reach.k for reach in self.reaches]
        return max([0, *of_balls, *of_reaches, *self.neighbors_of(side)])
