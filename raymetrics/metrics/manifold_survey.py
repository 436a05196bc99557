"""A survey of the manifolds of two sets: which samples lie in the balls of the other side.

A manifold is the union of balls around features. Each ball reaches to the k-th nearest neighbor of
its center on the same side (Kynkaanniemi et al. 2019, Eq. 1). One survey serves a list of k;
precision, recall, density, coverage and realism are formulas of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.statistics.ball_membership import BallMembership


class NeighborSearch(Protocol):
    """An engine that searches prepared sets for neighbors; see `raymetrics.neighbors`."""

    name: str

    def prepare(self, *sets: np.ndarray) -> tuple[Any, ...]:
        """Convert sets of features, real [n, d], to the form that the other methods take."""

    def nearest(self, queries: Any, base: Any, k: int) -> np.ndarray:
        """Return the k smallest distances of each query to the base, float64.

        A row of a set that is searched in itself is not its own neighbor.
        """

    def balls_both_directions(
        self,
        left: Any,
        right: Any,
        left_radii: np.ndarray,
        right_radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> tuple[BallMembership, BallMembership]:
        """Find right in the balls of left, and left in the balls of right.

        count: count the balls of left that hold a sample of right. realism_radii: radii of left by
        which the realism of right is computed.
        """


@dataclass(frozen=True, eq=False)
class ManifoldSurvey:
    """The survey of n real and m generated samples, for K values of k."""

    ks: tuple[int, ...]
    engine: str
    real_radii: np.ndarray  # float64 [n, K]
    generated_radii: np.ndarray  # float64 [m, K]
    generated_in_real: BallMembership  # the generated among the balls of the real
    real_in_generated: (
        BallMembership  # the real among the balls of the generated; hits may be 1 for any number
    )


RadiusRule = Callable[[np.ndarray], np.ndarray]  # from radii to the radii of closed balls


def unchanged_radii(radii: np.ndarray) -> np.ndarray:
    """Return the radii of closed balls: distance <= radius."""
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
    """Find the samples of each side in the balls of the other, for every k in ascending order.

    real, generated: real [n, d], [m, d]. count: count the balls too, for density and coverage.
    realism: score each generated sample too. NotEnoughData unless both sides have more samples than
    the largest k.
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
    """Raise NotEnoughData unless there are more than k samples."""
    if count <= k:
        raise NotEnoughData(
            f"the {k} nearest neighbours of each of {count} {side} samples; it takes at least "
            f"{k + 1}: extract more, or ask for a smaller k"
        )


def knn_radii(prepared: Any, ks: Sequence[int], search: NeighborSearch) -> np.ndarray:
    """Return the distance of each sample to its k-th nearest neighbor, float64 [n, K].

    The sample is left out by its row, and not by a distance of 0, which duplicates have too.
    """
    return search.nearest(prepared, prepared, max(ks))[:, [k - 1 for k in ks]]


def radii_up_to_median(radii: np.ndarray) -> np.ndarray:
    """Replace the radii above the median by -1, which stands for no ball.

    Their estimates are poor (section 5 of the paper: "with radius smaller than the median").
    """
    return np.where(radii <= np.median(radii), radii, -1.0)
