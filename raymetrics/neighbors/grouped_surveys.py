"""Surveys of all samples but those of one group, for every group, in one pass over all pairs.

Without a group, balls reach further: to the k-th nearest neighbor among the others. Neighbors are
therefore searched by group, and the radii without each group are further columns of radii.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import Convention, ManifoldSurvey
from raymetrics.neighbors.choose_engine import DEFAULT_ENGINE, make_engine
from raymetrics.statistics import BallMembership, assign_groups


@dataclass(frozen=True, eq=False)
class _GroupedSide:
    """A side in groups, with the radii of its balls."""

    groups: np.ndarray  # int64 [n]
    rows: list[np.ndarray]  # int64, of every group
    prepared: Sequence[Any]  # sets, of every group
    radii: np.ndarray  # float64 [n, 1 + groups, K]: of all samples, and without each group


def survey_without_groups(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    real_ids: np.ndarray,
    generated_ids: np.ndarray,
    groups: int,
    convention: Convention,
    engine: str = DEFAULT_ENGINE,
) -> dict[str, list[ManifoldSurvey]]:
    """Return, by side, the surveys without each group of that side; hits are counted.

    real, generated: real [n, d] and [m, d]; ids: int64 [n], [m]. The groups are those of
    `assign_groups`. NotEnoughData if a side without a group has no k neighbors for each sample.
    """
    ids = {"real": real_ids, "generated": generated_ids}
    for side, side_ids in ids.items():
        require_neighbors_without_group(len(side_ids), groups, convention, side)
    features = {
        "real": convention.round_features(real),
        "generated": convention.round_features(generated),
    }
    search = make_engine(engine)
    assigned = {side: assign_groups(side_ids, groups) for side, side_ids in ids.items()}
    rows = {s: [np.flatnonzero(a == g) for g in range(groups)] for s, a in assigned.items()}
    parts = search.prepare(*(features[side][part] for side in ids for part in rows[side]))
    prepared = {"real": parts[:groups], "generated": parts[groups:]}
    sides = {
        side: _GroupedSide(
            assigned[side],
            rows[side],
            prepared[side],
            _radii_without_groups(prepared[side], rows[side], convention, search),
        )
        for side in ids
    }
    return _survey_groups(sides["real"], sides["generated"], convention, search)


def require_neighbors_without_group(
    count: int, groups: int, convention: Convention, side: str
) -> None:
    """Raise NotEnoughData unless all samples have k neighbors without the largest group."""
    left, k = count - -(-count // groups), convention.ks[-1]
    if left <= k:
        raise NotEnoughData(
            f"an interval takes {count} {side} samples without each of {groups} groups, and the "
            f"{k} nearest neighbours of each of the other {left}; extract more, or ask for no "
            "intervals"
        )


def _radii_without_groups(
    prepared: Sequence[Any], rows: Sequence[np.ndarray], convention: Convention, search: Any
) -> np.ndarray:
    """Compute the radii of all samples and without each group, float64 [n, 1 + groups, K]."""
    ks, groups = convention.ks, len(rows)
    nearest = np.empty((sum(map(len, rows)), groups, ks[-1]))
    for g in range(groups):
        nearest[rows[g], g] = search.nearest(prepared[g], prepared[g], ks[-1])
        for h in range(g + 1, groups):
            nearest[rows[g], h], nearest[rows[h], g] = search.nearest_both_directions(
                prepared[g], prepared[h], ks[-1]
            )
    columns = [_kth_nearest(nearest, ks)]
    columns += [_kth_nearest(np.delete(nearest, g, axis=1), ks) for g in range(groups)]
    radii = np.stack([convention.effective_radii(column) for column in columns], axis=1)
    for g in range(groups):
        radii[rows[g], 1 + g] = -1.0  # which holds nothing
    return radii


def _kth_nearest(nearest: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Return the k-th smallest of distances [n, groups, k_max] for every k, float64 [n, K]."""
    flat = nearest.reshape(len(nearest), -1)
    smallest = np.sort(np.partition(flat, ks[-1] - 1, axis=1)[:, : ks[-1]], axis=1)
    return smallest[:, [k - 1 for k in ks]]


def _survey_groups(
    real: _GroupedSide, generated: _GroupedSide, convention: Convention, search: Any
) -> dict[str, list[ManifoldSurvey]]:
    """Search all pairs of groups, and put the surveys together."""
    groups, ks = len(real.rows), len(convention.ks)
    radii = {id(side): side.radii.reshape(len(side.radii), -1) for side in (real, generated)}
    generated_in_real = _Memberships.empty(generated, real)
    real_in_generated = _Memberships.empty(real, generated)
    for g, h in np.ndindex(groups, groups):
        left, right = real.rows[g], generated.rows[h]
        in_real, in_generated = search.balls_both_directions(
            real.prepared[g],
            generated.prepared[h],
            radii[id(real)][left],
            radii[id(generated)][right],
        )
        generated_in_real.add(in_real, right, h, left)
        real_in_generated.add(in_generated, left, g, right)

    def survey(real_group: int | None, generated_group: int | None) -> ManifoldSurvey:
        return ManifoldSurvey(
            convention.ks,
            search.name,
            _without(real, real_group),
            _without(generated, generated_group),
            generated_in_real.without(generated_group, real_group, ks),
            real_in_generated.without(real_group, generated_group, ks),
        )

    return {
        "real": [survey(g, None) for g in range(groups)],
        "generated": [survey(None, g) for g in range(groups)],
    }


def _without(side: _GroupedSide, group: int | None) -> np.ndarray:
    """Return the radii without a group, of the samples that are not in it; None for no group."""
    if group is None:
        return side.radii[:, 0]
    return side.radii[side.groups != group, 1 + group]


@dataclass(frozen=True, eq=False)
class _Memberships:
    """Points of a side in balls of the other one, by group of the points."""

    points: _GroupedSide
    balls: _GroupedSide
    hits: np.ndarray  # int64 [n, C]
    occupied: np.ndarray  # bool [groups, m, C]: by any point of a group

    @classmethod
    def empty(cls, points: _GroupedSide, balls: _GroupedSide) -> _Memberships:
        """Return the memberships before any pair was searched."""
        columns = balls.radii.shape[1] * balls.radii.shape[2]
        shape = (len(points.rows), len(balls.groups), columns)
        return cls(
            points, balls, np.zeros((len(points.groups), columns), np.int64), np.zeros(shape, bool)
        )

    def add(self, part: BallMembership, points: np.ndarray, group: int, balls: np.ndarray) -> None:
        """Add the points of a group among the balls of another one."""
        self.hits[points] += part.hits
        self.occupied[group, balls] = part.occupancy > 0

    def without(self, points: int | None, balls: int | None, ks: int) -> BallMembership:
        """Return the membership without a group of the points, or one of the balls."""
        first = 0 if balls is None else ks * (1 + balls)
        columns = slice(first, first + ks)
        groups = [g for g in range(len(self.points.rows)) if g != points]
        hits = self.hits[self.points.groups != points if points is not None else slice(None)]
        occupied: np.ndarray = np.any(self.occupied[groups, :, columns], axis=0)
        if balls is not None:
            occupied = occupied[self.balls.groups != balls]
        # Coverage asks only whether a ball is occupied; counts would take 8 times the memory.
        return BallMembership(hits[:, columns], occupied.astype(np.int64), np.zeros(len(hits)))
