"""Exact neighbours by tiles: each distance is computed once, and everything is asked of it.

A tile holds -distance^2 / 2 between some rows of one set and some of another, straight from one
product of float32 matrices: rows [x, -|x|^2 / 2, 1] times [y, 1, -|y|^2 / 2]. Within one set only
half of the tiles are computed, as each serves its rows and its columns; between two sets one tile
answers who lies in whose balls, both ways, for every radius, and the realism. What rounding could
change is settled in float64, as in `flat`. Best where no few directions tell neighbours apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors import error_bounds
from raymetrics.neighbors.brute_force import pair_distances, ratios
from raymetrics.neighbors.error_bounds import Candidates, squared_error
from raymetrics.neighbors.faiss_indexes import blocks
from raymetrics.neighbors.projections import (
    Full,
    joint_mean,
    scaled_radii,
    squared_norms,
    unit_scale,
)
from raymetrics.statistics.ball_membership import Balls

SIDE = 1024
SPARE = 8


class Rows:
    """A set of features as the rows of tiles."""

    def __init__(self, features: np.ndarray, centre: np.ndarray, scale: float) -> None:
        self.features = features if scale == 1 else features * scale
        self.centre, self.scale = centre, scale
        self.left = np.empty((len(features), features.shape[1] + 2), np.float32)
        self.norms = np.empty(len(features))
        centred = Full(centre)
        for some in blocks(len(features), SIDE):
            x = centred(self.features[some])
            self.norms[some] = squared_norms(x)
            self.left[some, :-2] = x
        self.left[:, -2], self.left[:, -1] = -self.norms / 2, 1
        self.terms = self.left.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def right(self, some: slice) -> np.ndarray:
        """float32 [terms, b]: the columns of tiles."""
        rows = self.left[some].copy()
        rows[:, [-2, -1]] = rows[:, [-1, -2]]
        return rows.T


@dataclass(frozen=True, eq=False)
class Tile:
    """-distance^2 / 2 of some rows and columns, and by how much each is wrong at most."""

    rows: slice
    columns: slice
    values: np.ndarray  # float32 [b, c]
    error: float

    def pairs(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column numbers and values, where a mask of the tile is set."""
        flat = np.flatnonzero(mask)
        i, j = np.divmod(flat, mask.shape[1])
        values = self.values.ravel()[flat].astype(np.float64)
        return i + self.rows.start, j + self.columns.start, values

    def bounds(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """No more and no less than the distances that belong to values."""
        low, high = -2 * (values + self.error), -2 * (values - self.error)
        return error_bounds.root(low), error_bounds.root(high)


def tiles(one: Rows, other: Rows, half: bool = False) -> Iterator[Tile]:
    """All tiles; or those on and above the diagonal. Each is overwritten by the next one."""
    buffer = np.empty(SIDE * SIDE, np.float32)
    for columns in blocks(len(other), SIDE):
        right = other.right(columns)
        for rows in blocks(min(columns.stop, len(one)) if half else len(one), SIDE):
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            values = buffer[: shape[0] * shape[1]].reshape(shape)
            np.matmul(one.left[rows], right, out=values)
            largest = one.norms[rows].max() + other.norms[columns].max()
            yield Tile(rows, columns, values, float(squared_error(one.terms, largest)) / 2)


class Best:
    """The nearest candidates of each row so far: the largest values of its tiles."""

    def __init__(self, rows: int, keep: int) -> None:
        self.values = np.full((rows, keep), -np.inf, np.float32)
        self.ids = np.full((rows, keep), -1)

    def add(self, rows: slice, values: np.ndarray, first: int) -> None:
        """values: float32 [b, c], of the rows to the candidates `first`, `first` + 1, ..."""
        best, ids = self.values[rows], self.ids[rows]
        i, j = np.divmod(np.flatnonzero(values > best.min(axis=1)[:, None]), values.shape[1])
        if not len(i):
            return
        counts = np.bincount(i, minlength=len(best))
        places = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        more = np.full((len(best), counts.max()), -np.inf, np.float32)
        more_ids = np.full(more.shape, -1)
        more[i, places], more_ids[i, places] = values[i, j], j + first
        more, more_ids = np.hstack([best, more]), np.hstack([ids, more_ids])
        keep = best.shape[1]
        chosen = np.argpartition(more, -keep, axis=1)[:, -keep:]
        self.values[rows] = np.take_along_axis(more, chosen, axis=1)
        self.ids[rows] = np.take_along_axis(more_ids, chosen, axis=1)


class TileSearch:
    """All distances, in tiles."""

    name = "tiles"

    def place(self, *sets: np.ndarray) -> tuple[Rows, ...]:
        """Sets of features, real [n, d], on one centre and scale, as other methods take them."""
        scale = unit_scale(*sets)
        centre = joint_mean(*sets) * scale
        return tuple(Rows(features, centre, scale) for features in sets)

    def place_like(self, placed: Rows, features: np.ndarray) -> Rows:
        """Another set, on the centre and scale of one that was placed before."""
        return Rows(features, placed.centre, placed.scale)

    def nearest(
        self, queries: Rows, base: Rows, k: int, own: np.ndarray | None = None
    ) -> np.ndarray:
        """The k smallest distances of each query to base rows other than its own.

        own: int64 [n], the base row that each query is, -1 where it is none. float64 [n, k],
        ascending; infinite where there are fewer rows.
        """
        best = Best(len(queries), k + SPARE)
        half = queries is base and own is not None and bool((own == np.arange(len(base))).all())
        largest = 0.0
        for tile in tiles(queries, base, half):
            largest = max(largest, tile.error)
            if own is not None:
                leave_out(tile, own)
            best.add(tile.rows, tile.values, tile.columns.start)
            if half and tile.rows != tile.columns:
                transposed = np.ascontiguousarray(tile.values.T)
                best.add(tile.columns, transposed, tile.rows.start)
        return self._settled(queries, base, best, k, own, largest) / base.scale

    def _settled(
        self, queries: Rows, base: Rows, best: Best, k: int, own: np.ndarray | None, error: float
    ) -> np.ndarray:
        """Exact distances of the best candidates; of all rows where others may be as near."""
        found = np.full((len(queries), k), np.inf)
        for some in blocks(len(queries), SIDE):
            squared = -2 * best.values[some].astype(np.float64)
            none = best.ids[some] < 0
            low = np.where(none, np.inf, error_bounds.root(squared - 2 * error))
            high = np.where(none, np.inf, error_bounds.root(squared + 2 * error))
            of = Candidates(queries.features[some], base.features, best.ids[some], low, high)
            found[some] = error_bounds.nearest(of, k)
            beyond = squared.max(axis=1) - 2 * error > found[some, -1] ** 2
            for row in (np.flatnonzero(~(beyond | none.any(axis=1))) + some.start).tolist():
                ids = np.arange(len(base))
                if own is not None:
                    ids = ids[ids != own[row]]
                all_of_row = np.full(len(ids), row)
                exact = pair_distances(queries.features, base.features, all_of_row, ids)
                found[row] = np.sort(exact)[:k]
        return found

    def balls(
        self,
        queries: Rows,
        centres: Rows,
        radii: np.ndarray,
        *,
        count: bool = True,
        lesser: np.ndarray | None = None,
    ) -> Balls:
        """Which closed balls hold which queries; always counts.

        radii: float64 [m, K], ascending in each row; below 0 a ball is empty. lesser: the radii
        for realism, float64 [m].
        """
        nothing = np.full((len(queries), radii.shape[1]), -1.0)
        return self.both_ways(centres, queries, radii, nothing, lesser=lesser)[0]

    def both_ways(
        self, one: Rows, other: Rows, radii_of_one: np.ndarray, radii_of_other: np.ndarray, *,
        count: bool = True, lesser: np.ndarray | None = None,
    ) -> tuple[Balls, Balls]:  # fmt: skip
        """The other among the balls of one, with realism for the lesser radii if asked; and one
        among the balls of the other; both counted."""
        of_one, of_other = (scaled_radii(r, one.scale) for r in (radii_of_one, radii_of_other))
        by_one = Balls.empty(len(other), *of_one.shape)
        by_other = Balls.empty(len(one), *of_other.shape)
        greatest = (
            Greatest(one, other, scaled_radii(lesser, one.scale)) if lesser is not None else None
        )
        for tile in tiles(one, other):
            reach = reach_of(of_one[tile.rows, -1])[:, None] + tile.error
            i, j, values = tile.pairs(tile.values >= -reach)
            low, high = tile.bounds(values)
            add_pairs(by_one, j, i, inside(other, one, j, i, low, high, of_one))
            reach = reach_of(of_other[tile.columns, -1])[None, :] + tile.error
            i, j, values = tile.pairs(tile.values >= -reach)
            low, high = tile.bounds(values)
            add_pairs(by_other, i, j, inside(one, other, i, j, low, high, of_other))
            if greatest:
                greatest.add(tile)
        if greatest:
            by_one = Balls(by_one.hits, by_one.occupied, greatest.settled())
        return by_one, by_other


def leave_out(tile: Tile, own: np.ndarray) -> None:
    """Puts each row infinitely far from itself."""
    mine = own[tile.rows] - tile.columns.start
    there = np.flatnonzero((mine >= 0) & (mine < tile.values.shape[1]))
    tile.values[there, mine[there]] = -np.inf


def reach_of(radii: np.ndarray) -> np.ndarray:
    """radius^2 / 2, as float32, rounded up; less than nothing of an empty ball."""
    half = np.where(radii < 0, -np.inf, np.square(radii) / 2).astype(np.float32)
    return np.nextafter(half, np.where(radii < 0, -np.inf, np.inf).astype(np.float32))


def inside(
    queries: Rows, centres: Rows, i: np.ndarray, j: np.ndarray, low: np.ndarray, high: np.ndarray,
    radii: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Whether query i lies in the ball of centre j, bool [pairs, K]."""
    of_pairs = radii[j]
    unsure = ((low[:, None] <= of_pairs) & (high[:, None] > of_pairs)).any(axis=1)
    apart = high.copy()
    apart[unsure] = pair_distances(queries.features, centres.features, i[unsure], j[unsure])
    return apart[:, None] <= of_pairs


def add_pairs(balls: Balls, i: np.ndarray, j: np.ndarray, held: np.ndarray) -> None:
    """Counts pairs of a point i and a ball j; held: bool [pairs, K]."""
    for radius in range(held.shape[1]):
        there = held[:, radius]
        balls.hits[:, radius] += np.bincount(i[there], minlength=len(balls.hits))
        balls.occupied[j[there], radius] = True


class Greatest:
    """The largest radius / distance of each query (the columns), as tiles go by."""

    def __init__(self, centres: Rows, queries: Rows, radii: np.ndarray) -> None:
        self.centres, self.queries, self.radii = centres, queries, radii
        self.reach = reach_of(radii)  # at least; and at most:
        self.least = np.nextafter(np.nextafter(self.reach.clip(min=0), 0), 0)
        self.at_least = np.zeros(len(queries))  # a ratio that some ball reaches
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # i, j, ratio at most

    def add(self, tile: Tile) -> None:
        """Remembers the pairs of a tile whose ratio may be the largest."""
        reached, reach = self.at_least[tile.columns], self.reach[tile.rows, None]
        if not reached.all():
            further = np.maximum(tile.error - tile.values, np.float32(1e-20))
            best = np.sqrt(self.least[tile.rows, None] / further).max(axis=0) * (1 - 1e-6)
            reached = np.maximum(reached, best)
        # radius / distance >= reached, without dividing; a little is left to rounding.
        squared = np.square(reached.clip(max=1e9)) * (1 - 1e-6)
        squared = np.nextafter(squared.astype(np.float32), np.float32(0))[None, :]
        i, j, values = tile.pairs((tile.values + np.float32(tile.error)) * squared >= -reach)
        low, high = tile.bounds(values)
        self.at_least[tile.columns] = reached
        np.maximum.at(self.at_least, j, ratios(self.radii[i], high))
        at_most = ratios(self.radii[i], low)
        some = at_most >= self.at_least[j]
        self.pairs.append((i[some], j[some], at_most[some]))

    def settled(self) -> np.ndarray:
        """float64 [queries]; 0 of no ball."""
        found = np.zeros(len(self.queries))
        if self.pairs:
            i, j, at_most = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
            some = (at_most >= self.at_least[j]) & (self.radii[i] >= 0)
            i, j = i[some], j[some]
            apart = pair_distances(self.queries.features, self.centres.features, j, i)
            np.maximum.at(found, j, ratios(self.radii[i], apart))
        return found
