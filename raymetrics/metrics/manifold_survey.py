"""Everything that is asked of the manifolds of two sets, in one survey.

A manifold is the union of balls around features, each reaching its k-th nearest neighbour of the
same side (Kynkaanniemi et al. 2019, Eq. 1). Who lies in whose balls is found once, for a list of
k; precision, recall, density, coverage and realism are formulas of what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.statistics.ball_membership import Balls


class Search(Protocol):
    """An engine that finds neighbours; see `raymetrics.neighbors`. Placed sets are its own."""

    name: str

    def place(self, *sets: np.ndarray) -> tuple[Any, ...]:
        """Sets of features, real [n, d], as the other methods take them."""

    def nearest(self, queries: Any, base: Any, k: int, own: np.ndarray | None = None) -> np.ndarray:
        """The k smallest distances of each query to base rows other than its own, float64."""

    def balls(
        self, queries: Any, centres: Any, radii: np.ndarray, *, count: bool = True,
        lesser: np.ndarray | None = None,
    ) -> Balls:  # fmt: skip
        """Which closed balls hold which queries; and the realism, for the lesser radii."""

    def both_ways(
        self, one: Any, other: Any, radii_of_one: np.ndarray, radii_of_other: np.ndarray, *,
        count: bool = True, lesser: np.ndarray | None = None,
    ) -> tuple[Balls, Balls]:  # fmt: skip
        """The other among the balls of one, counted if asked, with realism for the lesser radii
        of one; and one among the balls of the other."""


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found of n real and m generated samples, for K values of k."""

    ks: tuple[int, ...]
    engine: str
    radii_of_real: np.ndarray  # float64 [n, K]
    radii_of_generated: np.ndarray  # float64 [m, K]
    of_generated: Balls  # the generated among the balls of the real
    of_real: Balls  # the real among the balls of the generated; hits may be 1 for any number


Reach = Callable[[np.ndarray], np.ndarray]  # from radii to those that closed balls are to have


def as_they_are(radii: np.ndarray) -> np.ndarray:
    """Closed balls: distance <= radius."""
    return radii


def survey(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    ks: Sequence[int],
    search: Search,
    reach: Reach = as_they_are,
    count: bool = True,
    realism: bool = False,
) -> Survey:
    """Radii of both sides, and who lies in whose balls, for every k in ascending order.

    real, generated: real [n, d], [m, d]. count: also how many balls, for density and coverage.
    realism: also each generated sample's. NotEnoughData if a side has not more than the largest k.
    """
    ks = sorted(set(ks))
    for side, features in (("real", real), ("generated", generated)):
        require(len(features), ks[-1], side)
    one, other = search.place(real, generated)
    of_real, of_generated = reach(radii(one, ks, search)), reach(radii(other, ks, search))
    lesser = up_to_median(of_real[:, 0]) if realism else None
    found = search.both_ways(one, other, of_real, of_generated, count=count, lesser=lesser)
    return Survey(tuple(ks), search.name, of_real, of_generated, *found)


def require(count: int, k: int, side: str) -> None:
    """NotEnoughData unless there are more than k samples."""
    if count <= k:
        raise NotEnoughData(
            f"the {k} nearest neighbours of each of {count} {side} samples; it takes at least "
            f"{k + 1}: extract more, or ask for a smaller k"
        )


def radii(placed: Any, ks: Sequence[int], search: Search) -> np.ndarray:
    """The distance of each sample to its k-th nearest other one, for every k, float64 [n, K].

    It is left out by its number and not by its distance, which duplicates share.
    """
    own = np.arange(len(placed))
    return search.nearest(placed, placed, max(ks), own)[:, [k - 1 for k in ks]]


def up_to_median(radii: np.ndarray) -> np.ndarray:
    """Radii with those above the median made -1, which is no ball: those whose estimate is poor
    (section 5 of the paper: "with radius smaller than the median")."""
    return np.where(radii <= np.median(radii), radii, -1.0)
