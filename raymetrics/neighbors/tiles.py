"""Exact neighbors by tiles: compute each distance once, and derive everything from it.

A tile is a product of some rows of one set and some rows of another, which bounds all their
distances. Within one set half of the tiles suffice, because each serves its rows and its columns;
between two sets one tile tells which points lie in which balls, in both directions, for every
radius, and the realism. Pairs that the bounds leave open are computed from differences in float64.
Every thread computes tiles by itself, so a busy core delays nobody else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np

from raymetrics.neighbors.ball_counts import (
    MaxRatios,
    PairDistances,
    count_pairs,
    half_squared_reach,
)
from raymetrics.neighbors.candidate_pools import CandidatePool
from raymetrics.neighbors.choose_width import FULL
from raymetrics.neighbors.miss_products import SIDE, squared_misses
from raymetrics.neighbors.prepared_sets import Frame, PreparedSet, share_left_open
from raymetrics.neighbors.processors import (
    CpuProcessor,
    Processor,
    compute_in_one_thread,
    default_processor,
)
from raymetrics.neighbors.screen import Floors, Screen
from raymetrics.statistics.ball_membership import BallMembership
from raymetrics.statistics.nearest_neighbors import NearestNeighbors

_MIN_SKETCHED_PAIRS = 1e7  # fewer are done before a sketch is ready
_MIN_WORK_FOR_TORCH = 4e10  # pairs times width of sketches that take longer than to load torch
_PROMISING_SHARE = 0.1  # of pairs that sketches leave open among a few rows


class TileSearch:
    """The engine that computes all distances, in tiles."""

    set_type: type[PreparedSet] = PreparedSet

    def __init__(
        self, processor: Processor | None = None, *, part: int = 16, adaptive: bool = True
    ) -> None:
        """Search on a processor, by default the GPU of this process or its cores.

        part: sketches have d / part directions, and with 1 there are none. adaptive: use sketches
        only where they have been faster.
        """
        self.processor = processor or default_processor()
        self.part, self.adaptive = part, adaptive
        self.name = "tiles" if adaptive else "tiles-sketched"
        if part == 1:
            self.name = "tiles-full"

    def prepare(self, *sets: np.ndarray) -> tuple[PreparedSet, ...]:
        """Move sets of features, real [n, d], to one center and scale, for the other methods."""
        frame = Frame(*sets, part=self.part)
        return tuple(self.set_type(features, frame, self.processor) for features in sets)

    def prepare_like(self, prepared: PreparedSet, features: np.ndarray) -> PreparedSet:
        """Move another set to the center and scale of a prepared set."""
        return self.set_type(features, prepared.frame, self.processor)

    def nearest(self, queries: PreparedSet, base: PreparedSet, k: int) -> np.ndarray:
        """Compute the k smallest distances of each query to base rows; in one set, to others.

        Returns float64 [n, k], ascending; infinite beyond the number of rows.
        """
        pool = self._pool(queries, base, k)
        self._fill_pools(queries, base, pool, pool if queries is base else None)
        return self._nearest(pool).distances

    def nearest_neighbors(
        self, queries: PreparedSet, base: PreparedSet, k: int
    ) -> NearestNeighbors:
        """Find the k nearest base rows of each query, with their numbers; in one set, others.

        Of equally near rows the smaller numbers come first, on every engine.
        """
        pool = self._pool(queries, base, k, with_ids=True)
        self._fill_pools(queries, base, pool, pool if queries is base else None)
        return self._nearest(pool)

    def nearest_both_directions(
        self, left: PreparedSet, right: PreparedSet, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the k smallest distances of each left row to right rows, and the converse."""
        pools = self._pool(left, right, k), self._pool(right, left, k)
        self._fill_pools(left, right, *pools)
        return self._nearest(pools[0]).distances, self._nearest(pools[1]).distances

    def _pool(
        self, queries: PreparedSet, base: PreparedSet, k: int, *, with_ids: bool = False
    ) -> CandidatePool:
        distances, side = Screen(queries, base).distances, self.processor.side
        scale = queries.frame.scale
        return CandidatePool(len(queries), k, side, scale, distances, with_ids=with_ids)

    def _fill_pools(
        self,
        left: PreparedSet,
        right: PreparedSet,
        row_pool: CandidatePool,
        column_pool: CandidatePool | None,
    ) -> None:
        """Find the candidates of the rows of left and, with a pool, of right."""
        half = left is right
        screen = Screen(left, right, self._widths(left, right), among_others=half)

        def visit(rows: slice, columns: slice) -> None:
            on_diagonal = half and rows == columns  # its rows are its columns
            _add_nearest(screen, rows, columns, row_pool, None if on_diagonal else column_pool)

        self._for_each_tile(visit, left, right, half=half)

    def _nearest(self, pool: CandidatePool) -> NearestNeighbors:
        nothing = NearestNeighbors.empty(0, pool.k)
        blocks = [nothing, *self._for_each(pool.nearest, range(len(pool.blocks)))]
        return NearestNeighbors(
            np.concatenate([block.distances for block in blocks]),
            np.concatenate([block.rows for block in blocks]),
        )

    def balls_both_directions(
        self,
        left: PreparedSet,
        right: PreparedSet,
        left_radii: np.ndarray,
        right_radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> tuple[BallMembership, BallMembership]:
        """Compute `right` among the balls of `left`, and `left` among the balls of `right`.

        Both results are counted; the first has realism if realism_radii is given.
        """
        screen = Screen(left, right, self._widths(left, right))
        right_in_left = BallMembership.empty(len(right), *left_radii.shape)
        left_in_right = BallMembership.empty(len(left), *right_radii.shape)
        ratios = None if realism_radii is None else MaxRatios(screen, realism_radii)
        row_floors, column_floors = (
            half_squared_reach(radii.max(axis=1), screen.scale)
            for radii in (left_radii, right_radii)
        )
        lock = Lock()

        def visit(rows: slice, columns: slice) -> None:
            with screen.timed_tile(rows, columns) as tile:
                floors = Floors(row_floors[rows], column_floors[columns])
                pairs = screen.open_pairs(tile, floors)
                distances = PairDistances(screen, pairs)
                in_left = distances.inside(left_radii[pairs.i])
                in_right = distances.inside(right_radii[pairs.j])
                with lock:
                    count_pairs(right_in_left, pairs.j, pairs.i, in_left)
                    count_pairs(left_in_right, pairs.i, pairs.j, in_right)
                if ratios is not None:
                    ratios.add(tile)

        self._for_each_tile(visit, left, right)
        if ratios is not None:
            right_in_left = replace(right_in_left, realism=ratios.largest())
        return right_in_left, left_in_right

    def balls_among_others(self, prepared: PreparedSet, radii: np.ndarray) -> BallMembership:
        """Count the rows of a set in the balls of its other rows, by half of the tiles."""
        screen = Screen(prepared, prepared, self._widths(prepared, prepared), among_others=True)
        membership = BallMembership.empty(len(prepared), *radii.shape)
        floors = half_squared_reach(radii.max(axis=1), screen.scale)
        lock = Lock()

        def visit(rows: slice, columns: slice) -> None:
            with screen.timed_tile(rows, columns) as tile:
                pairs = screen.open_pairs(tile, Floors(floors[rows], floors[columns]))
                distances = PairDistances(screen, pairs)
                inside = [distances.inside(radii[centers]) for centers in (pairs.i, pairs.j)]
                with lock:
                    count_pairs(membership, pairs.j, pairs.i, inside[0])
                    if rows != columns:  # a tile on the diagonal has every pair twice
                        count_pairs(membership, pairs.i, pairs.j, inside[1])

        self._for_each_tile(visit, prepared, prepared, half=True)
        return membership

    def misses_both_directions(
        self, left: PreparedSet, right: PreparedSet, left_reach: float, right_reach: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Multiply distance / reach over the left rows that reach a right row, and the converse.

        Returns float64 [right], [left], by products in float64 on the cores of this process.
        """
        sides = [list(_slices(len(part), SIDE)) for part in (left, right)]
        tiles = [(rows, columns) for rows in sides[0] for columns in sides[1]]

        def multiply(tile: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
            return squared_misses(left.features, right.features, *tile, (left_reach, right_reach))

        of_right, of_left = np.ones(len(right)), np.ones(len(left))
        cores = CpuProcessor()
        for (rows, columns), found in zip(tiles, _map(multiply, tiles, cores), strict=True):
            of_right[columns] *= found[0]
            of_left[rows] *= found[1]
        return np.sqrt(of_right), np.sqrt(of_left)

    def _widths(self, left: PreparedSet, right: PreparedSet) -> Sequence[int]:
        """Return the widths that tiles may have; loads torch where sketches may be refined."""
        width = left.frame.sketch_width
        if self.part == 1:
            return [FULL]
        if self.adaptive:
            pairs = len(left) * len(right)
            if pairs < _MIN_SKETCHED_PAIRS or not self.processor.can_sketch(left.features):
                return [FULL]
            if "torch" not in sys.modules and pairs * width < _MIN_WORK_FOR_TORCH:
                return [FULL]
            if left.frame.effective_dimension > width:  # before directions are fitted
                return [FULL]
            if share_left_open(left, right) > _PROMISING_SHARE:
                return [FULL]
        import_module("torch")
        return [FULL, width] if self.adaptive else [width]

    def _for_each_tile(
        self,
        visit: Callable[[slice, slice], None],
        left: PreparedSet,
        right: PreparedSet,
        *,
        half: bool = False,
    ) -> None:
        """Visit all tiles, or with `half` those on and above the diagonal, nearest to it first."""
        sides = [list(_slices(len(part), self.processor.side)) for part in (left, right)]
        tiles = [(r, c) for r in sides[0] for c in sides[1] if not half or r.start <= c.start]
        tiles.sort(key=lambda tile: abs(tile[0].start - tile[1].start))
        self._for_each(lambda tile: visit(*tile), tiles)

    def _for_each(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Do the work for all items on the threads of the processor; return the results."""
        return _map(work, items, self.processor)


def _map(work: Callable[[Any], Any], items: Iterable[Any], processor: Processor) -> list[Any]:
    """Do the work for all items on the threads of a processor; return the results in order."""
    with (
        processor.exact_products(),
        ThreadPoolExecutor(processor.threads, initializer=compute_in_one_thread) as pool,
    ):
        return list(pool.map(work, items))


def _slices(rows: int, size: int) -> Iterator[slice]:
    """Yield slices of `size` rows that cover all."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _add_nearest(
    screen: Screen,
    rows: slice,
    columns: slice,
    row_pool: CandidatePool,
    column_pool: CandidatePool | None,
) -> None:
    """Add what a tile holds of the nearest of its rows and, with a pool, of its columns."""
    starved = bool(np.isneginf(row_pool.floors[rows]).any()) or (
        column_pool is not None and bool(np.isneginf(column_pool.floors[columns]).any())
    )
    with screen.timed_tile(rows, columns, full=starved) as tile:
        if starved:
            k = row_pool.k
            row_pool.raise_floors(rows, screen.first_floors(tile, k))
            if column_pool is not None:
                column_pool.raise_floors(columns, screen.first_floors(tile, k, of_columns=True))
        floors = Floors(
            row_pool.floors[rows], None if column_pool is None else column_pool.floors[columns]
        )
        pairs = screen.open_pairs(tile, floors)
        row_pool.add(rows, pairs.i, pairs.j, pairs.high, pairs.low)
        if column_pool is not None:
            column_pool.add(columns, pairs.j, pairs.i, pairs.high, pairs.low)
