"""Exact neighbors with FAISS: its flat indexes find the candidates, on the CPU or the GPU.

Each answer comes with a certificate: what the index did not return lies further away than the
answer by more than the rounding error. Rows without one are searched in tiles.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from raymetrics.neighbors.ball_counts import PairDistances
from raymetrics.neighbors.choose_width import FULL
from raymetrics.neighbors.faiss_indexes import FlatIndex, load_faiss
from raymetrics.neighbors.prepared_sets import Operand, PreparedSet
from raymetrics.neighbors.processors import CpuProcessor, Processor
from raymetrics.neighbors.screen import Pairs, Screen
from raymetrics.neighbors.tiles import TileSearch
from raymetrics.statistics.ball_membership import BallMembership
from raymetrics.statistics.nearest_neighbors import NearestNeighbors

_SPARE_NEIGHBORS = 8  # neighbors fetched beyond the k-th
_SLACK = 2.0**-22  # for radii that are rounded to float32 and added


class IndexedSet(PreparedSet):
    """A prepared set whose indexes are made once, for all sets that are searched in it."""

    @cached_property
    def float32(self) -> Operand:
        """All rows in float32, with the bounds of their products."""
        on_cpu = PreparedSet(self.features, self.frame, CpuProcessor())
        return on_cpu.operand(slice(0, len(self)), FULL)

    @cached_property
    def nearest_index(self) -> FlatIndex:
        """The index that finds the nearest rows."""
        return FlatIndex("l2", self.float32.vectors)

    def deepest_index(self, radii: np.ndarray) -> FlatIndex:
        """Return the index that finds the ball, of these scaled radii, in which a row is deepest.

        That is the ball with the largest radius^2 - distance^2.
        """
        stored = getattr(self, "_deepest", None)
        if stored is None or not np.array_equal(stored[0], radii):
            operand = self.float32
            norms = operand.half_norms + operand.errors
            depth = np.where(radii < 0, -4 * norms.max() - 1, np.square(radii) / 2 - norms)
            rows = np.column_stack([operand.vectors, depth.astype(np.float32)])
            self._deepest = stored = (radii, FlatIndex("ip", rows))
        return stored[1]


class FlatSearch(TileSearch):
    """The engine whose radii and flags come from FAISS, and its counts and realism from tiles."""

    set_type = IndexedSet

    def __init__(self, processor: Processor | None = None) -> None:
        """Raise RaymetricsError now if FAISS is missing, before features are read."""
        load_faiss()
        super().__init__(processor)
        self.name = "faiss-flat"

    def nearest(self, queries: PreparedSet, base: PreparedSet, k: int) -> np.ndarray:
        """Compute the k smallest distances of each query, as `TileSearch.nearest` does."""
        found, open_rows = self._certified(queries, base, k)
        if len(open_rows):
            rest = self.prepare_like(queries, queries.features[open_rows])
            of_self = int(queries is base)  # a row of the base is the first of its neighbors
            distances = super().nearest(rest, base, k + of_self)
            found.distances[open_rows] = distances[:, of_self:]
        return found.distances

    def nearest_neighbors(
        self, queries: PreparedSet, base: PreparedSet, k: int
    ) -> NearestNeighbors:
        """Find the k nearest rows of each query, as `TileSearch.nearest_neighbors` does."""
        found, open_rows = self._certified(queries, base, k)
        if len(open_rows):
            rest = self.prepare_like(queries, queries.features[open_rows])
            near = super().nearest_neighbors(rest, base, k + int(queries is base))
            if queries is base:
                near.distances[near.rows == open_rows[:, None]] = np.inf  # of a row itself
            near = NearestNeighbors.nearest(near.distances, near.rows, k)
            found.distances[open_rows], found.rows[open_rows] = near.distances, near.rows
        return found

    def _certified(
        self, queries: PreparedSet, base: PreparedSet, k: int
    ) -> tuple[NearestNeighbors, np.ndarray]:
        """Find the k nearest by the index, and the queries whose answer has no certificate."""
        assert isinstance(queries, IndexedSet)
        assert isinstance(base, IndexedSet)
        fetch = k + 1 + _SPARE_NEIGHBORS
        if len(base) < fetch or not len(queries):
            return NearestNeighbors.empty(len(queries), k), np.arange(len(queries))
        squared, ids = base.nearest_index.search(queries.float32.vectors, fetch)
        values = -squared.astype(np.float64) / 2
        errors = queries.float32.errors[:, None] + base.float32.errors[ids]
        is_other = ids != np.arange(len(ids))[:, None] if queries is base else ids >= 0
        low = np.where(is_other, values - errors, -np.inf)
        kth = np.partition(low, -k, axis=1)[:, -k]
        i, column = np.nonzero(is_other & (values + errors >= kth[:, None]))
        distances = np.full(ids.shape, np.inf)
        distances[i, column] = Screen(queries, base).distances(i, ids[i, column])
        nearest = NearestNeighbors.nearest(distances, ids, k)
        beyond = values[:, -1] + queries.float32.errors + base.float32.errors.max()
        scaled = np.square(nearest.distances[:, -1] * base.frame.scale) / 2
        return nearest, np.flatnonzero(~(-scaled * (1 + _SLACK) > beyond))

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
        """Compute what lies in which balls, as `TileSearch.balls_both_directions` does.

        By an index if the balls have one radius, and neither counts nor realism are asked for.
        """
        if (
            count
            or realism_radii is not None
            or left_radii.shape[1] > 1
            or not len(left) * len(right)
        ):
            return super().balls_both_directions(
                left, right, left_radii, right_radii, count=count, realism_radii=realism_radii
            )
        return self._flags(right, left, left_radii), self._flags(left, right, right_radii)

    def _flags(
        self, queries: PreparedSet, centers: PreparedSet, radii: np.ndarray
    ) -> BallMembership:
        """Find whether each query lies in any ball; the points of a ball are not counted."""
        assert isinstance(queries, IndexedSet)
        assert isinstance(centers, IndexedSet)
        membership = BallMembership.empty(len(queries), len(centers), 1)
        x, y, scaled = queries.float32, centers.float32, radii[:, 0] * centers.frame.scale
        vectors = np.column_stack([x.vectors, np.ones(len(queries), np.float32)])
        depths, ids = centers.deepest_index(scaled).search(vectors, 1)
        margins = depths[:, 0].astype(np.float64) - x.half_norms - x.errors
        errors = x.errors + y.errors.max() + _SLACK * np.square(scaled.max(initial=0))
        i = np.flatnonzero(margins >= -errors)
        j = ids[i, 0]
        pairs = Pairs(i, j, np.zeros(len(i)), np.full(len(i), -np.inf))
        is_inside = PairDistances(Screen(queries, centers), pairs).inside(radii[j])[:, 0]
        membership.hits[i[is_inside], 0] = 1
        open_rows = i[~is_inside]
        if len(open_rows):
            rest = self.prepare_like(queries, queries.features[open_rows])
            nothing = np.full((len(rest), 1), -1.0)
            in_balls, _ = super().balls_both_directions(centers, rest, radii, nothing)
            membership.hits[open_rows] = in_balls.hits > 0
        return membership
