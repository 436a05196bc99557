"""A survey of the manifolds of two sets: which samples lie in the balls of the other side.

A manifold is the union of balls around features. Each ball reaches to the k-th nearest neighbor of
its center on the same side (Kynkaanniemi et al. 2019, Eq. 1). One survey serves a list of k, and
further kinds of balls; precision and recall in all their senses are formulas of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.conventions import Convention
from raymetrics.metrics.survey_needs import BallKind, Reach, SurveyNeeds
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

    def nearest_both_directions(
        self, left: Any, right: Any, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the k smallest distances of each left row to right rows, and the converse."""

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

        count: count the balls of a point and the points of a ball; without it any number of balls
        may be 1, and that of points 0. realism_radii: radii of left by which the realism of right
        is computed.
        """

    def balls_among_others(self, prepared: Any, radii: np.ndarray) -> BallMembership:
        """Count the rows of a set in the balls of the other rows of it."""

    def misses_both_directions(
        self, left: Any, right: Any, left_reach: float, right_reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the product of distance / reach over the left rows that each right row reaches,
        and the converse, float64; 1 for a row that reaches none.
        """


@dataclass(frozen=True, eq=False)
class KindMembership:
    """The samples among the balls of one kind. Each membership has one radius."""

    generated_in_real: BallMembership
    real_in_generated: BallMembership
    real_in_real: BallMembership | None  # among the balls of the others, if asked for


@dataclass(frozen=True, eq=False)
class ManifoldSurvey:
    """The survey of n real and m generated samples, for K values of k."""

    ks: tuple[int, ...]
    engine: str
    real_radii: np.ndarray  # float64 [n, K]
    generated_radii: np.ndarray  # float64 [m, K]
    generated_in_real: BallMembership  # the generated among the balls of the real
    real_in_generated: BallMembership  # the real among the balls of the generated
    # What a metric may need beyond that, see `SurveyNeeds`.
    by_kind: Mapping[BallKind, KindMembership] = field(default_factory=dict)
    # Of "real" and "generated": distances to the nearest others of the side, float64 [n, k], and
    # to the nearest of the other side.
    distances: Mapping[str, np.ndarray] = field(default_factory=dict)
    distances_across: Mapping[str, np.ndarray] = field(default_factory=dict)
    # The products of distance / reach of the generated and of the real samples, float64 [m], [n].
    misses: Mapping[Reach, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)


class SideSearch(Protocol):
    """A search of two sides, in memory or part by part."""

    engine: str

    def nearest(self, side: str, k: int) -> np.ndarray:
        """Return the distances of each sample to the k nearest others of its side, float64."""

    def nearest_across(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances of the real to the k nearest generated, and the converse."""

    def balls(
        self,
        real_radii: np.ndarray,
        generated_radii: np.ndarray,
        *,
        count: bool,
        realism_radii: np.ndarray | None,
    ) -> tuple[BallMembership, BallMembership]:
        """Find the generated in the balls of the real, and the converse."""

    def balls_among_real(self, radii: np.ndarray) -> BallMembership:
        """Count the real samples in the balls of the other real samples."""

    def misses(self, real_reach: float, generated_reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the products of distance / reach of the generated and of the real samples."""


def survey_sides(
    sides: SideSearch, counts: Mapping[str, int], convention: Convention, needs: SurveyNeeds
) -> ManifoldSurvey:
    """Survey two sides of so many samples: all that is needed, each search once.

    NotEnoughData unless both sides have more samples than their largest k.
    """
    require_enough_neighbors(counts, convention, needs)
    distances = {
        side: sides.nearest(side, k) if k else np.empty((count, 0))
        for side, count in counts.items()
        for k in [needs.largest_k(side, convention)]
    }
    kinds = needs.all_kinds(convention)
    radii = {side: radii_of_kinds(side, d, kinds, convention) for side, d in distances.items()}
    in_real, in_generated = _search_balls(sides, radii, needs)
    own = slice(0, len(kinds) - len(needs.kinds))  # those of the convention stand first
    return ManifoldSurvey(
        ks=convention.ks if needs.convention_sides else (),
        engine=sides.engine,
        real_radii=radii["real"][:, own],
        generated_radii=radii["generated"][:, own],
        generated_in_real=in_real.with_radii(own),
        real_in_generated=in_generated.with_radii(own),
        by_kind=_split_kinds(sides, kinds, radii, in_real, in_generated, needs),
        distances={s: d[:, : max(needs.neighbors_of(s), default=0)] for s, d in distances.items()},
        distances_across=_search_across(sides, needs.nearest_across),
        misses={reach: _search_misses(sides, distances, reach) for reach in needs.reaches},
    )


def _search_balls(
    sides: SideSearch, radii: Mapping[str, np.ndarray], needs: SurveyNeeds
) -> tuple[BallMembership, BallMembership]:
    """Find each side in the balls of the other; without a kind of balls nothing is searched."""
    sizes = {side: len(side_radii) for side, side_radii in radii.items()}
    if not radii["real"].shape[1]:
        return (
            BallMembership.empty(sizes["generated"], sizes["real"], 0),
            BallMembership.empty(sizes["real"], sizes["generated"], 0),
        )
    realism_radii = radii_up_to_median(radii["real"][:, 0]) if needs.realism else None
    return sides.balls(
        radii["real"], radii["generated"], count=needs.count, realism_radii=realism_radii
    )


def _split_kinds(
    sides: SideSearch,
    kinds: Sequence[BallKind],
    radii: Mapping[str, np.ndarray],
    in_real: BallMembership,
    in_generated: BallMembership,
    needs: SurveyNeeds,
) -> Mapping[BallKind, KindMembership]:
    """Return the memberships of each kind of balls that a metric names."""
    columns = {kind: slice(i, i + 1) for i, kind in enumerate(kinds)}
    return {
        kind: KindMembership(
            in_real.with_radii(columns[kind]),
            in_generated.with_radii(columns[kind]),
            sides.balls_among_real(radii["real"][:, columns[kind]])
            if kind in needs.among_real
            else None,
        )
        for kind in needs.kinds
    }


def _search_across(sides: SideSearch, k: int) -> Mapping[str, np.ndarray]:
    return dict(zip(("real", "generated"), sides.nearest_across(k), strict=True)) if k else {}


def _search_misses(
    sides: SideSearch, distances: Mapping[str, np.ndarray], reach: Reach
) -> tuple[np.ndarray, np.ndarray]:
    """Search with the reach of each side: a multiple of the mean distance to the k-th neighbor."""
    return sides.misses(
        *(reach.factor * float(distances[s][:, reach.k - 1].mean()) for s in ("real", "generated"))
    )


def require_enough_neighbors(
    counts: Mapping[str, int], convention: Convention, needs: SurveyNeeds
) -> None:
    """Raise NotEnoughData unless each side has more samples than its largest k."""
    for side, count in counts.items():
        require_neighbors(count, needs.largest_k(side, convention), side)
        require_neighbors(count, needs.nearest_across - 1, side)


def radii_of_kinds(
    side: str, distances: np.ndarray, kinds: Sequence[BallKind], convention: Convention
) -> np.ndarray:
    """Return the radii of closed balls that hold the points of each kind, float64 [n, kinds].

    distances: to the nearest others, float64 [n, k], ascending. Without balls of a kind the radii
    of the side are -1.
    """
    radii = np.full((len(distances), len(kinds)), -1.0)
    for column, kind in enumerate(kinds):
        if side in kind.sides:
            reached = distances[:, kind.k - 1]
            if kind.clipped:
                reached = np.minimum(reached, np.median(reached))
            radii[:, column] = replace(convention, ball=kind.ball).effective_radii(reached)
    return radii


class ArraySides:
    """Two sides in memory, prepared for an engine."""

    def __init__(self, real: np.ndarray, generated: np.ndarray, search: NeighborSearch) -> None:
        """Prepare the sides: real [n, d], [m, d]."""
        self.search, self.engine = search, search.name
        self.real, self.generated = search.prepare(real, generated)

    def nearest(self, side: str, k: int) -> np.ndarray:
        """Search one side in itself."""
        prepared = getattr(self, side)
        return self.search.nearest(prepared, prepared, k)

    def nearest_across(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Search each side in the other."""
        return self.search.nearest_both_directions(self.real, self.generated, k)

    def balls(
        self,
        real_radii: np.ndarray,
        generated_radii: np.ndarray,
        *,
        count: bool,
        realism_radii: np.ndarray | None,
    ) -> tuple[BallMembership, BallMembership]:
        """Search each side in the balls of the other."""
        return self.search.balls_both_directions(
            self.real,
            self.generated,
            real_radii,
            generated_radii,
            count=count,
            realism_radii=realism_radii,
        )

    def balls_among_real(self, radii: np.ndarray) -> BallMembership:
        """Search the real side in its own balls."""
        return self.search.balls_among_others(self.real, radii)

    def misses(self, real_reach: float, generated_reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Multiply the distances of each side that the other reaches."""
        return self.search.misses_both_directions(
            self.real, self.generated, real_reach, generated_reach
        )


def survey_manifolds(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    ks: Sequence[int],
    search: NeighborSearch,
    convention: Convention | None = None,
    needs: SurveyNeeds | None = None,
    count: bool = True,
    realism: bool = False,
) -> ManifoldSurvey:
    """Find the samples of each side in the balls of the other, for every k in ascending order.

    real, generated: real [n, d], [m, d], rounded as the convention has them. convention: by default
    closed balls of exact distances. needs: what is searched; by default the balls of every k.
    count, realism: count too, for density and coverage; score each generated sample too.
    NotEnoughData unless both sides have more samples than the largest k.
    """
    convention = replace(convention or Convention(), k=tuple(ks))
    needs = needs or SurveyNeeds.of_convention(count=count, realism=realism)
    counts = {"real": len(real), "generated": len(generated)}
    require_enough_neighbors(counts, convention, needs)
    return survey_sides(ArraySides(real, generated, search), counts, convention, needs)


def require_neighbors(count: int, k: int, side: str) -> None:
    """Raise NotEnoughData unless there are more than k samples."""
    if k > 0 and count <= k:
        raise NotEnoughData(
            f"the {k} nearest neighbours of each of {count} {side} samples; it takes at least "
            f"{k + 1}: extract more, or ask for a smaller k"
        )


def radii_up_to_median(radii: np.ndarray) -> np.ndarray:
    """Replace the radii above the median by -1, which stands for no ball.

    Their estimates are poor (section 5 of the paper: "with radius smaller than the median").
    """
    return np.where(radii <= np.median(radii), radii, -1.0)
