"""Screen two sets tile by tile: bound all distances, and find the pairs that bounds leave open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from raymetrics.neighbors.choose_width import FULL, WidthChooser
from raymetrics.neighbors.prepared_sets import ROUNDOFF64, PreparedSet, error_shares
from raymetrics.neighbors.processors import OpenPairs

_CROWDED_SHARE = 1 / 32  # of the pairs of a tile; if more are open, a finer product is cheaper


@dataclass(frozen=True, eq=False)
class Tile:
    """Upper bounds of -distance^2 / 2 of some rows and columns, [b, c] on the processor.

    Less twice the errors of row and column they are lower bounds, except of sketches.
    """

    rows: slice
    columns: slice
    values: Any
    row_errors: np.ndarray
    column_errors: np.ndarray
    width: int = FULL

    @property
    def pairs(self) -> int:
        """The number of pairs in the tile."""
        return (self.rows.stop - self.rows.start) * (self.columns.stop - self.columns.start)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows i and j of two sets, with bounds of -distance^2 / 2, float64."""

    i: np.ndarray
    j: np.ndarray
    high: np.ndarray
    low: np.ndarray


@dataclass(frozen=True, eq=False)
class Floors:
    """The values that are worth a look: of a tile's rows or, if given, of its columns.

    column_weights: what a column's values are multiplied by before they are compared.
    """

    rows: np.ndarray
    columns: np.ndarray | None = None
    column_weights: np.ndarray | None = None

    def reached(self, i: np.ndarray, j: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return which values of pairs of a tile reach a floor."""
        weighted = values if self.column_weights is None else values * self.column_weights[j]
        is_reached: np.ndarray = weighted >= self.rows[i]
        return is_reached if self.columns is None else is_reached | (values >= self.columns[j])


class Screen:
    """Two prepared sets whose pairs are screened tile by tile."""

    def __init__(
        self,
        left: PreparedSet,
        right: PreparedSet,
        widths: Sequence[int] = (FULL,),
        *,
        among_others: bool = False,
    ) -> None:
        """Screen left against right; with among_others no row of a set against itself."""
        self.left, self.right, self.among_others = left, right, among_others
        self.processor, self.scale = left.processor, left.frame.scale
        self.chooser = WidthChooser(widths)

    def distances(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Compute the distances of pairs, float64."""
        return self.processor.pair_distances(self.left.uploaded, self.right.uploaded, i, j)

    @contextmanager
    def timed_tile(self, rows: slice, columns: slice, *, full: bool = False) -> Iterator[Tile]:
        """Multiply a tile of the width that has been the cheapest, and time what follows.

        full: multiply whole features.
        """
        width = FULL if full else self.chooser.choose()
        self.left.operand(rows, width), self.right.operand(columns, width)
        start = self.processor.clock()
        tile = self.tile(rows, columns, width)
        yield tile
        self.chooser.record(width, self.processor.clock() - start, tile.pairs)

    def tile(self, rows: slice, columns: slice, width: int = FULL) -> Tile:
        """Multiply operands of a width."""
        left, right = self.left.operand(rows, width), self.right.operand(columns, width)
        values = self.processor.product(left.vectors, right.vectors)
        self.processor.subtract(values, left.half_norms, right.half_norms)
        return self._without_self(Tile(rows, columns, values, left.errors, right.errors, width))

    def precise_tile(self, tile: Tile) -> Tile:
        """Compute a tile again in float64, around a center of its own."""
        center = self.left.features[tile.rows].mean(axis=0, dtype=np.float64)
        x, y = self.left.uploaded[tile.rows], self.right.uploaded[tile.columns]
        values, *norms = self.processor.product64(x, y, center, self.scale)
        row_errors, column_errors = (
            error_shares(n, n * ROUNDOFF64, len(center), ROUNDOFF64, ROUNDOFF64) for n in norms
        )
        self.processor.subtract(
            values, np.square(norms[0]) / 2 - row_errors, np.square(norms[1]) / 2 - column_errors
        )
        return self._without_self(Tile(tile.rows, tile.columns, values, row_errors, column_errors))

    def _without_self(self, tile: Tile) -> Tile:
        """Set each row infinitely far from itself, if only others count."""
        if self.among_others and tile.rows == tile.columns:
            self.processor.exclude_diagonal(tile.values)
        return tile

    def open_pairs(self, tile: Tile, floors: Floors) -> Pairs:
        """Find the pairs of a tile that reach the floors; multiply finer where many do."""
        i, j, values = self._reaching(tile, floors)
        limit = max(tile.pairs * _CROWDED_SHARE, 4 * (tile.rows.stop - tile.rows.start))
        if tile.width != FULL and len(i) > limit:
            tile = self.tile(tile.rows, tile.columns)
            i, j, values = self._reaching(tile, floors)
        if tile.width != FULL:
            return self._refine(tile, floors, i, j)
        low = values - 2 * (tile.row_errors[i] + tile.column_errors[j])
        if len(i) > limit and not floors.reached(i, j, low).mean() > 0.5:
            tile = self.precise_tile(tile)
            i, j, values = self._reaching(tile, floors)
            low = values - 2 * (tile.row_errors[i] + tile.column_errors[j])
        return Pairs(i + tile.rows.start, j + tile.columns.start, values, low)

    def _reaching(self, tile: Tile, floors: Floors) -> OpenPairs:
        """Find the pairs whose values reach the floors; none of a row with itself."""
        values, weights = tile.values, floors.column_weights
        if weights is not None:
            values = values * self.processor.upload(weights.astype(np.float32))
        i, j, bounds = self.processor.open_pairs(values, floors.rows, floors.columns)
        if weights is not None:
            bounds = bounds / weights[j]
        is_pair = bounds > -np.inf
        return i[is_pair], j[is_pair], bounds[is_pair]

    def _refine(self, tile: Tile, floors: Floors, i: np.ndarray, j: np.ndarray) -> Pairs:
        """Multiply whole features of the pairs that a sketch leaves open."""
        left, right = self.left.operand(tile.rows, FULL), self.right.operand(tile.columns, FULL)
        values = self.processor.pair_products(left.vectors, right.vectors, i, j)
        values -= left.half_norms[i] + right.half_norms[j]
        is_open = floors.reached(i, j, values)
        i, j, values = i[is_open], j[is_open], values[is_open]
        low = values - 2 * (left.errors[i] + right.errors[j])
        return Pairs(i + tile.rows.start, j + tile.columns.start, values, low)

    def first_floors(self, tile: Tile, k: int, *, of_columns: bool = False) -> np.ndarray:
        """Return values that k pairs of each row reach for certain; -inf if there are fewer."""
        values, errors, others = tile.values, tile.row_errors, tile.column_errors
        if of_columns:
            values, errors, others = values.T, others, errors
        if values.shape[1] < k:
            return np.full(values.shape[0], -np.inf)
        kth: np.ndarray = self.processor.kth_largest(values, k).astype(np.float64)
        return kth - 2 * (errors + others.max())
