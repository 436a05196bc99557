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
from raymetrics.statistics.ball_membership import BallMembership


class NeighborSearch(Protocol):
    """An engine that finds neighbours; see `raymetrics.neighbors`. Placed sets are its own."""

    name: str

    def prepare(self, *sets: np.ndarray) -> tuple[Any, ...]:
        """Sets of features, real [n, d], as the other methods take them."""

    def nearest(
        self, queries: Any, base: Any, k: int, self_rows: np.ndarray | None = None
    ) -> np.ndarray:
        """The k smallest distances of each query to base rows other than its own, float64."""

    def balls(
        self, queries: Any, centers: Any, radii: np.ndarray, *, count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> BallMembership:  # fmt: skip
        """Which closed balls hold which queries; and the realism, for the realism_radii radii."""

    def balls_both_directions(
        self, left: Any, right: Any, left_radii: np.ndarray, right_radii: np.ndarray, *,
        count: bool = True, realism_radii: np.ndarray | None = None,
    ) -> tuple[BallMembership, BallMembership]:  # fmt: skip
        """The other among the balls of one, counted if asked, with realism for the realism_radii radii
        of one; and one among the balls of the other."""


@dataclass(frozen=True, eq=False)
class ManifoldSurvey:
    """What was found of n real and m generated samples, for K values of k."""

    ks: tuple[int, ...]
    engine: str
    real_radii: np.ndarray  # float64 [n, K]
    generated_radii: np.ndarray  # float64 [m, K]
    generated_in_real: BallMembership  # the generated among the balls of the real
    real_in_generated: (
        BallMembership  # the real among the balls of the generated; hits may be 1 for any number
    )


RadiusRule = Callable[[np.ndarray], np.ndarray]  # from radii to those that closed balls are to have


def unchanged_radii(radii: np.ndarray) -> np.ndarray:
    """Closed balls: distance <= radius."""
    return radii


def survey_manifolds(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    ks: Sequence[int],
    search: NeighborSearch,
    radius_rule: RadiusRule = unchanged_radii,
    count: bool = True,
    realism: bool = False,
) -> ManifoldSurvey:
    """Radii of both sides, and who lies in whose balls, for every k in ascending order.

    real, generated: real [n, d], [m, d]. count: also how many balls, for density and coverage.
    realism: also each generated sample's. NotEnoughData if a side has not more than the largest k.
    """
    ks = sorted(set(ks))
    for side, features in (("real", real), ("generated", generated)):
        require_neighbors(len(features), ks[-1], side)
    real_set, generated_set = search.prepare(real, generated)
    real_radii, generated_radii = (
        radius_rule(knn_radii(real_set, ks, search)),
        radius_rule(knn_radii(generated_set, ks, search)),
    )
    realism_radii = radii_up_to_median(real_radii[:, 0]) if realism else None
    memberships = search.balls_both_directions(
        real_set,
        generated_set,
        real_radii,
        generated_radii,
        count=count,
        realism_radii=realism_radii,
    )
    return ManifoldSurvey(tuple(ks), search.name, real_radii, generated_radii, *memberships)


def require_neighbors(count: int, k: int, side: str) -> None:
    """NotEnoughData unless there are more than k samples."""
    if count <= k:
        raise NotEnoughData(
            f"the {k} nearest neighbours of each of {count} {side} samples; it takes at least "
            f"{k + 1}: extract more, or ask for a smaller k"
        )


def knn_radii(prepared: Any, ks: Sequence[int], search: NeighborSearch) -> np.ndarray:
    """The distance of each sample to its k-th nearest other one, for every k, float64 [n, K].

    It is left out by its number and not by its distance, which duplicates share.
    """
    self_rows = np.arange(len(prepared))
    return search.nearest(prepared, prepared, max(ks), self_rows)[:, [k - 1 for k in ks]]


def radii_up_to_median(radii: np.ndarray) -> np.ndarray:
    """Radii with those above the median made -1, which is no ball: those whose estimate is poor
    (section 5 of the paper: "with radius smaller than the median")."""
    return np.where(radii <= np.median(radii), radii, -1.0)
