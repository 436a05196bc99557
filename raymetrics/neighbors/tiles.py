"""Exact neighbors by tiles: compute each distance once, and derive everything from it.

A tile holds -distance^2 / 2 between some rows of one set and some rows of another, from one product
of float32 matrices: rows [x, -|x|^2 / 2, 1] times [y, 1, -|y|^2 / 2]. Within one set only half of
the tiles are computed, because each tile serves its rows and its columns; between two sets one tile
tells which points lie in which balls, in both directions, for every radius, and the realism.
Float64 decides what rounding could change, as in `faiss_engines`. The best engine if no few
directions tell neighbors apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raymetrics.neighbors import error_bounds
from raymetrics.neighbors.brute_force import pair_distances, radius_ratios
from raymetrics.neighbors.error_bounds import BoundedCandidates, squared_error_bound
from raymetrics.neighbors.faiss_indexes import row_slices
from raymetrics.neighbors.projections import (
    FullSketch,
    joint_mean,
    scale_radii,
    squared_norms,
    unit_scale,
)
from raymetrics.statistics.ball_membership import BallMembership

SIDE = 1024
_SPARE_NEIGHBORS = 8


class TileOperand:
    """A set of features as the rows of tiles."""

    def __init__(self, features: np.ndarray, center: np.ndarray, scale: float) -> None:
        self.features = features if scale == 1 else features * scale
        self.center, self.scale = center, scale
        self.left_factor = np.empty((len(features), features.shape[1] + 2), np.float32)
        self.norms = np.empty(len(features))
        center_rows = FullSketch(center)
        for block in row_slices(len(features), SIDE):
            x = center_rows(self.features[block])
            self.norms[block] = squared_norms(x)
            self.left_factor[block, :-2] = x
        self.left_factor[:, -2], self.left_factor[:, -1] = -self.norms / 2, 1
        self.terms = self.left_factor.shape[1]

    def __len__(self) -> int:
        return len(self.features)

    def right_factor(self, row_slice: slice) -> np.ndarray:
        """Return the columns of tiles, float32 [terms, b]."""
        rows = self.left_factor[row_slice].copy()
        rows[:, [-2, -1]] = rows[:, [-1, -2]]
        return rows.T


@dataclass(frozen=True, eq=False)
class _Tile:
    """The values -distance^2 / 2 of some rows and columns, and a bound on their error."""

    rows: slice
    columns: slice
    values: np.ndarray  # float32 [b, c]
    error: float

    def pairs(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row numbers, column numbers and values where a mask of the tile is set."""
        flat = np.flatnonzero(mask)
        i, j = np.divmod(flat, mask.shape[1])
        values = self.values.ravel()[flat].astype(np.float64)
        return i + self.rows.start, j + self.columns.start, values

    def bounds(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bound the distances of some values from below and above."""
        low, high = -2 * (values + self.error), -2 * (values - self.error)
        return error_bounds.clipped_sqrt(low), error_bounds.clipped_sqrt(high)


def _iterate_tiles(
    row_set: TileOperand, column_set: TileOperand, half: bool = False
) -> Iterator[_Tile]:
    """Yield all tiles, or with `half` those on and above the diagonal.

    Each tile overwrites the tile before.
    """
    buffer = np.empty(SIDE * SIDE, np.float32)
    for columns in row_slices(len(column_set), SIDE):
        right = column_set.right_factor(columns)
        for rows in row_slices(min(columns.stop, len(row_set)) if half else len(row_set), SIDE):
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            values = buffer[: shape[0] * shape[1]].reshape(shape)
            np.matmul(row_set.left_factor[rows], right, out=values)
            largest = row_set.norms[rows].max() + column_set.norms[columns].max()
            yield _Tile(
                rows, columns, values, float(squared_error_bound(row_set.terms, largest)) / 2
            )


class _TopK:
    """The nearest candidates of each row so far: the largest values of its tiles."""

    def __init__(self, rows: int, keep: int) -> None:
        self.values = np.full((rows, keep), -np.inf, np.float32)
        self.ids = np.full((rows, keep), -1)

    def add(self, rows: slice, values: np.ndarray, first: int) -> None:
        """Add values, float32 [b, c], of the rows to the candidates `first`, `first` + 1, ..."""
        best, ids = self.values[rows], self.ids[rows]
        i, j = np.divmod(np.flatnonzero(values > best.min(axis=1)[:, None]), values.shape[1])
        if not len(i):
            return
        counts = np.bincount(i, minlength=len(best))
        columns = np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)
        pool_values = np.full((len(best), counts.max()), -np.inf, np.float32)
        pool_ids = np.full(pool_values.shape, -1)
        pool_values[i, columns], pool_ids[i, columns] = values[i, j], j + first
        pool_values, pool_ids = np.hstack([best, pool_values]), np.hstack([ids, pool_ids])
        keep = best.shape[1]
        chosen = np.argpartition(pool_values, -keep, axis=1)[:, -keep:]
        self.values[rows] = np.take_along_axis(pool_values, chosen, axis=1)
        self.ids[rows] = np.take_along_axis(pool_ids, chosen, axis=1)


class TileSearch:
    """The engine that computes all distances, in tiles."""

    name = "tiles"

    def prepare(self, *sets: np.ndarray) -> tuple[TileOperand, ...]:
        """Move sets of features, real [n, d], to one center and scale, for the other methods."""
        scale = unit_scale(*sets)
        center = joint_mean(*sets) * scale
        return tuple(TileOperand(features, center, scale) for features in sets)

    def prepare_like(self, prepared: TileOperand, features: np.ndarray) -> TileOperand:
        """Move another set to the center and scale of a prepared set."""
        return TileOperand(features, prepared.center, prepared.scale)

    def nearest(
        self, queries: TileOperand, base: TileOperand, k: int, self_rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the k smallest distances of each query to base rows other than itself.

        self_rows: int64 [n], the base row that equals the query, -1 if there is none. Returns
        float64 [n, k], ascending; infinite beyond the number of rows.
        """
        best = _TopK(len(queries), k + _SPARE_NEIGHBORS)
        half = (
            queries is base
            and self_rows is not None
            and bool((self_rows == np.arange(len(base))).all())
        )
        largest = 0.0
        for tile in _iterate_tiles(queries, base, half):
            largest = max(largest, tile.error)
            if self_rows is not None:
                _exclude_self(tile, self_rows)
            best.add(tile.rows, tile.values, tile.columns.start)
            if half and tile.rows != tile.columns:
                transposed = np.ascontiguousarray(tile.values.T)
                best.add(tile.columns, transposed, tile.rows.start)
        return self._exact_nearest(queries, base, best, k, self_rows, largest) / base.scale

    def _exact_nearest(
        self,
        queries: TileOperand,
        base: TileOperand,
        best: _TopK,
        k: int,
        self_rows: np.ndarray | None,
        error: float,
    ) -> np.ndarray:
        """Compute exact distances of the best candidates; of all rows if others may be as near."""
        distances = np.full((len(queries), k), np.inf)
        for block in row_slices(len(queries), SIDE):
            squared = -2 * best.values[block].astype(np.float64)
            is_missing = best.ids[block] < 0
            low = np.where(is_missing, np.inf, error_bounds.clipped_sqrt(squared - 2 * error))
            high = np.where(is_missing, np.inf, error_bounds.clipped_sqrt(squared + 2 * error))
            candidates = BoundedCandidates(
                queries.features[block], base.features, best.ids[block], low, high
            )
            distances[block] = error_bounds.nearest_distances(candidates, k)
            is_certain = squared.max(axis=1) - 2 * error > distances[block, -1] ** 2
            for row in (
                np.flatnonzero(~(is_certain | is_missing.any(axis=1))) + block.start
            ).tolist():
                ids = np.arange(len(base))
                if self_rows is not None:
                    ids = ids[ids != self_rows[row]]
                all_of_row = np.full(len(ids), row)
                exact = pair_distances(queries.features, base.features, all_of_row, ids)
                distances[row] = np.sort(exact)[:k]
        return distances

    def balls(
        self,
        queries: TileOperand,
        centers: TileOperand,
        radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> BallMembership:
        """Compute which closed balls contain which queries; counts even without `count`.

        radii: float64 [m, K], ascending in each row; a ball with a radius below 0 is empty.
        realism_radii: float64 [m], the radii for realism.
        """
        nothing = np.full((len(queries), radii.shape[1]), -1.0)
        return self.balls_both_directions(
            centers, queries, radii, nothing, realism_radii=realism_radii
        )[0]

    def balls_both_directions(
        self,
        left: TileOperand,
        right: TileOperand,
        left_radii: np.ndarray,
        right_radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> tuple[BallMembership, BallMembership]:
        """Compute `right` among the balls of `left`, and `left` among the balls of `right`.

        Both results are counted; the first has realism if realism_radii is given.
        """
        left_scaled, right_scaled = (scale_radii(r, left.scale) for r in (left_radii, right_radii))
        right_in_left = BallMembership.empty(len(right), *left_scaled.shape)
        left_in_right = BallMembership.empty(len(left), *right_scaled.shape)
        max_ratio = (
            _MaxRatio(left, right, scale_radii(realism_radii, left.scale))
            if realism_radii is not None
            else None
        )
        for tile in _iterate_tiles(left, right):
            reach = _half_squared_radii(left_scaled[tile.rows, -1])[:, None] + tile.error
            i, j, values = tile.pairs(tile.values >= -reach)
            low, high = tile.bounds(values)
            _count_pairs(
                right_in_left, j, i, _pairs_inside(right, left, j, i, low, high, left_scaled)
            )
            reach = _half_squared_radii(right_scaled[tile.columns, -1])[None, :] + tile.error
            i, j, values = tile.pairs(tile.values >= -reach)
            low, high = tile.bounds(values)
            _count_pairs(
                left_in_right, i, j, _pairs_inside(left, right, i, j, low, high, right_scaled)
            )
            if max_ratio:
                max_ratio.add(tile)
        if max_ratio:
            right_in_left = BallMembership(
                right_in_left.hits, right_in_left.occupied, max_ratio.largest_ratios()
            )
        return right_in_left, left_in_right


def _exclude_self(tile: _Tile, self_rows: np.ndarray) -> None:
    """Set each row infinitely far from itself."""
    self_columns = self_rows[tile.rows] - tile.columns.start
    tile_rows = np.flatnonzero((self_columns >= 0) & (self_columns < tile.values.shape[1]))
    tile.values[tile_rows, self_columns[tile_rows]] = -np.inf


def _half_squared_radii(radii: np.ndarray) -> np.ndarray:
    """Compute radius^2 / 2, rounded up to float32; minus infinity for an empty ball."""
    half = np.where(radii < 0, -np.inf, np.square(radii) / 2).astype(np.float32)
    return np.nextafter(half, np.where(radii < 0, -np.inf, np.inf).astype(np.float32))


def _pairs_inside(
    queries: TileOperand,
    centers: TileOperand,
    i: np.ndarray,
    j: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    radii: np.ndarray,
) -> np.ndarray:
    """Compute whether query i lies in the ball of center j, bool [pairs, K]."""
    pair_radii = radii[j]
    unsure = ((low[:, None] <= pair_radii) & (high[:, None] > pair_radii)).any(axis=1)
    distances = high.copy()
    distances[unsure] = pair_distances(queries.features, centers.features, i[unsure], j[unsure])
    return distances[:, None] <= pair_radii


def _count_pairs(
    balls: BallMembership, i: np.ndarray, j: np.ndarray, is_inside: np.ndarray
) -> None:
    """Count the pairs of a point i and a ball j that contains it; is_inside: bool [pairs, K]."""
    for radius in range(is_inside.shape[1]):
        pair_mask = is_inside[:, radius]
        balls.hits[:, radius] += np.bincount(i[pair_mask], minlength=len(balls.hits))
        balls.occupied[j[pair_mask], radius] = True


class _MaxRatio:
    """The largest radius / distance of each query (the columns), updated tile by tile."""

    def __init__(self, centers: TileOperand, queries: TileOperand, radii: np.ndarray) -> None:
        self.centers, self.queries, self.radii = centers, queries, radii
        self.reach = _half_squared_radii(radii)  # an upper bound, and a lower one:
        self.reach_lower = np.nextafter(np.nextafter(self.reach.clip(min=0), 0), 0)
        self.lower_bounds = np.zeros(len(queries))  # a ratio that some ball reaches
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # i, j, largest ratio

    def add(self, tile: _Tile) -> None:
        """Store the pairs of a tile whose ratio may be the largest."""
        reached, reach = self.lower_bounds[tile.columns], self.reach[tile.rows, None]
        if not reached.all():
            further = np.maximum(tile.error - tile.values, np.float32(1e-20))
            best = np.sqrt(self.reach_lower[tile.rows, None] / further).max(axis=0) * (1 - 1e-6)
            reached = np.maximum(reached, best)
        # radius / distance >= reached without a division, with a margin for rounding.
        squared = np.square(reached.clip(max=1e9)) * (1 - 1e-6)
        squared = np.nextafter(squared.astype(np.float32), np.float32(0))[None, :]
        i, j, values = tile.pairs((tile.values + np.float32(tile.error)) * squared >= -reach)
        low, high = tile.bounds(values)
        self.lower_bounds[tile.columns] = reached
        np.maximum.at(self.lower_bounds, j, radius_ratios(self.radii[i], high))
        upper_bounds = radius_ratios(self.radii[i], low)
        open_pairs = upper_bounds >= self.lower_bounds[j]
        self.pairs.append((i[open_pairs], j[open_pairs], upper_bounds[open_pairs]))

    def largest_ratios(self) -> np.ndarray:
        """Compute the largest ratios, float64 [queries]; 0 without a ball."""
        largest = np.zeros(len(self.queries))
        if self.pairs:
            i, j, upper_bounds = (np.concatenate(parts) for parts in zip(*self.pairs, strict=True))
            open_pairs = (upper_bounds >= self.lower_bounds[j]) & (self.radii[i] >= 0)
            i, j = i[open_pairs], j[open_pairs]
            distances = pair_distances(self.queries.features, self.centers.features, j, i)
            np.maximum.at(largest, j, radius_ratios(self.radii[i], distances))
        return largest
