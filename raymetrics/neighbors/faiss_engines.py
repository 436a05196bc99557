"""Exact neighbors with FAISS flat indexes: float32 for speed, float64 where it matters.

The index holds sketches of the features: all coordinates (`FlatSearch`), or a few coordinates whose
distances are lower bounds (`LowerBoundSearch`). The latter is several times faster if features lie
near a subspace, as features of networks do.

Both engines fetch a few more candidates than requested and compute those that matter again. A
certificate then states that no other row can matter: the rows that were not fetched lie farther
away than the result by more than the rounding error. Without a certificate more candidates are
fetched, and in the end all rows are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from raymetrics.neighbors import error_bounds
from raymetrics.neighbors.error_bounds import (
    ROUNDOFF32,
    ROUNDOFF64,
    SMALLEST_NORMAL32,
    BoundedCandidates,
    squared_error_bound,
)
from raymetrics.neighbors.faiss_indexes import (
    LARGEST_FETCH,
    FlatIndex,
    float32_distances,
    load_faiss,
    row_slices,
)
from raymetrics.neighbors.projections import (
    SAMPLE_ROWS,
    FullSketch,
    LowerBoundSketch,
    PreparedSet,
    Sketch,
    evenly_spaced_rows,
    joint_mean,
    leading_directions,
    scale_radii,
    squared_norms,
    unit_scale,
)
from raymetrics.statistics.ball_membership import BallMembership

_SPARE_NEIGHBORS = 8  # neighbors fetched beyond the k-th
BLOCK = 1024  # queries at a time
EXHAUSTIVE_PAIRS = 2**22  # pairs at a time in an exhaustive search
_SMALLEST_RATIO = 2.0**-40
_MIN_CERTAIN_SHARE = 0.8  # of a block; below it, the next block fetches more
_STAGES = (slice(0, 4), slice(4, 16), slice(16, None))  # of candidates, likely ones first


class FlatSearch:
    """The engine whose index holds all coordinates."""

    name = "faiss-flat"
    first_fetch = 1 + _SPARE_NEIGHBORS

    def __init__(self) -> None:
        load_faiss()  # raises now if FAISS is missing, before features are read

    def prepare(self, *sets: np.ndarray) -> tuple[PreparedSet, ...]:
        """Move sets of features, real [n, d], to one center and scale, for the other methods."""
        scale = unit_scale(*sets)
        sketch = self.make_sketch(*sets, scale=scale)
        return tuple(PreparedSet(sketch, features, scale) for features in sets)

    def prepare_like(self, prepared: PreparedSet, features: np.ndarray) -> PreparedSet:
        """Move another set to the center and scale of a prepared set."""
        return PreparedSet(prepared.sketch, features, prepared.scale)

    def make_sketch(self, *sets: np.ndarray, scale: float) -> Sketch:
        """Make the function that maps rows to the vectors in the index."""
        return FullSketch(joint_mean(*sets) * scale)

    def nearest(
        self, queries: PreparedSet, base: PreparedSet, k: int, self_rows: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the k smallest distances of each query to base rows other than itself.

        self_rows: int64 [n], the base row that equals the query, -1 if there is none. Returns
        float64 [n, k], ascending; infinite beyond the number of rows.
        """
        if not len(base) or not len(queries):
            return np.full((len(queries), k), np.inf)
        query_search = QuerySearch(queries, base)

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, surely_beyond = query_search.nearest_candidates(rows, fetch, self_rows)
            values = error_bounds.nearest_distances(query_search.refine_nearest(candidates, k), k)
            return values, surely_beyond(values[:, -1])

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return error_bounds.nearest_distances(query_search.all_candidates(rows, self_rows), k)

        distances = np.empty((len(queries), k))
        fetch = k + self.first_fetch
        return _search_until_certified(distances, attempt, exhaust, fetch, len(base)) / base.scale

    def balls(
        self,
        queries: PreparedSet,
        centers: PreparedSet,
        radii: np.ndarray,
        *,
        count: bool = True,
        realism_radii: np.ndarray | None = None,
    ) -> BallMembership:
        """Compute which closed balls contain which queries.

        radii: float64 [m, K], ascending in each row; a ball with a radius below 0 is empty. Without
        `count`, which is faster, `hits` is 1 or 0 and no ball is occupied. realism_radii: float64
        [m], the radii for realism.
        """
        membership = BallMembership.empty(len(queries), *radii.shape)
        if not len(centers) or not len(queries):
            return membership
        radii = scale_radii(radii, centers.scale)
        query_search = QuerySearch(queries, centers, radii)
        fill_membership = self._count_balls if count else self._find_covered
        fill_membership(query_search, membership)
        if realism_radii is None:
            return membership
        realism_radii = scale_radii(realism_radii, centers.scale)
        scores = self._realism(QuerySearch(queries, centers, realism_radii[:, None]), realism_radii)
        return BallMembership(membership.hits, membership.occupied, scores)

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

        `count` and realism_radii apply to the first result; the second is not counted.
        """
        return (
            self.balls(right, left, left_radii, count=count, realism_radii=realism_radii),
            self.balls(left, right, right_radii, count=False),
        )

    def _find_covered(self, query_search: QuerySearch, membership: BallMembership) -> None:
        """Find whether any ball contains a query."""

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, complete = query_search.deepest_balls(rows, fetch)
            flags = query_search.any_inside(candidates)
            return flags, complete | flags.all(axis=1)

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return np.asarray(
                error_bounds.inside_balls(
                    query_search.all_candidates(rows), query_search.radii
                ).any(axis=1)
            )

        # If distances are exact up to rounding, the deepest ball alone decides.
        fetch = 1 if query_search.sketch.exact else self.first_fetch
        _search_until_certified(membership.hits, attempt, exhaust, fetch, len(query_search.base))

    def _count_balls(self, query_search: QuerySearch, membership: BallMembership) -> None:
        """Count the balls that contain a query, and record which balls contain any."""

        def count_inside(candidates: BoundedCandidates) -> np.ndarray:
            is_inside = error_bounds.inside_balls(candidates, query_search.radii)
            for radius in range(is_inside.shape[2]):
                membership.occupied[candidates.ids[is_inside[..., radius]], radius] = True
            return is_inside.sum(axis=1)

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, complete = query_search.deepest_balls(rows, fetch)
            return count_inside(query_search.refine(candidates)), complete

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return count_inside(query_search.all_candidates(rows))

        _search_until_certified(
            membership.hits, attempt, exhaust, self.first_fetch, len(query_search.base)
        )

    def _realism(self, query_search: QuerySearch, radii: np.ndarray) -> np.ndarray:
        """Compute the largest radius / distance by Dinkelbach's method, float64 [n].

        Given a ratio that some ball reaches, one search finds all balls that could reach a larger
        ratio.
        """
        reached = np.ones(len(query_search.queries))

        def first_attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, _ = query_search.deepest_balls(rows, fetch, beyond=True)
            return error_bounds.largest_ratios(query_search.refine(candidates), radii), np.ones(
                len(rows), bool
            )

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, complete = query_search.deepest_balls(rows, fetch, reached[rows])
            best = error_bounds.largest_ratios(query_search.refine(candidates), radii)
            reached[rows] = np.maximum(reached[rows], best)
            return reached[rows], complete | np.isinf(reached[rows])

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return error_bounds.largest_ratios(query_search.all_candidates(rows), radii)

        size = len(query_search.base)
        reached = _search_until_certified(
            np.empty(len(reached)), first_attempt, exhaust, self.first_fetch, size
        )
        # There is no ratio to start from if all radii are 0, or if the square of its inverse
        # overflows float32.
        no_start = reached < _SMALLEST_RATIO
        reached = np.where(no_start, 1.0, reached)
        largest = _search_until_certified(
            np.empty(len(reached)), attempt, exhaust, self.first_fetch, size
        )
        return _search_exhaustively(largest, np.flatnonzero(no_start), exhaust, size)


class LowerBoundSearch(FlatSearch):
    """The engine whose index holds a few coordinates, and the length of the rest."""

    first_fetch = 64

    def __init__(self, dimensions: int = 128) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.name = f"faiss-lower-bound-{dimensions}"

    def make_sketch(self, *sets: np.ndarray, scale: float) -> Sketch:
        """Fit the directions of largest variance, and return the projection to them."""
        center = joint_mean(*sets) * scale
        rows = np.concatenate(
            [evenly_spaced_rows(features, SAMPLE_ROWS // len(sets)) for features in sets]
        )
        dimensions = min(self.dimensions, rows.shape[1])
        return LowerBoundSketch(center, leading_directions(rows * scale, center, dimensions))


_Attempt = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def _search_until_certified(
    results: np.ndarray,
    attempt: _Attempt,
    exhaust: Callable[[np.ndarray], np.ndarray],
    fetch: int,
    size: int,
) -> np.ndarray:
    """Fill `results` [n, ...] by attempts with ever more candidates; search the rest exhaustively.

    attempt(rows, fetch) returns the answers for some queries, and which answers are certain; each
    attempt takes the queries that the attempt before could not certify. If many answers of a block
    are uncertain, the next blocks fetch more at once. size: the number of base rows.
    """
    pending = np.arange(len(results))
    while len(pending) and fetch <= LARGEST_FETCH:
        uncertain, start = [], 0
        while start < len(pending):
            rows = pending[start : start + max(16, min(BLOCK, 2**17 // fetch))]
            start += len(rows)
            results[rows], certain = attempt(rows, min(fetch, size))
            uncertain.append(rows[~certain])
            if certain.mean() < _MIN_CERTAIN_SHARE and 2 * fetch <= LARGEST_FETCH:
                fetch *= 2
        pending = np.concatenate(uncertain)
        if fetch >= size:
            break
        fetch *= 4
    return _search_exhaustively(results, pending, exhaust, size)


def _search_exhaustively(
    results: np.ndarray, rows: np.ndarray, exhaust: Callable[[np.ndarray], np.ndarray], size: int
) -> np.ndarray:
    """Fill `results` for these queries by comparing all `size` base rows, in blocks of queries."""
    for block in row_slices(len(rows), max(1, EXHAUSTIVE_PAIRS // size)):
        results[rows[block]] = exhaust(rows[block])
    return results


class QuerySearch:
    """A set of queries and a set of base rows whose sketches are indexed."""

    def __init__(
        self, queries: PreparedSet, base: PreparedSet, radii: np.ndarray | None = None
    ) -> None:
        self.sketch, self.queries, self.base = base.sketch, queries, base
        self.bounds32 = Float32Bounds(queries.features, base.features)
        width = base.vectors(slice(0, 1)).shape[1]
        self.terms = width + 2
        if radii is None:
            self.index = FlatIndex("l2", base.vectors())
            return
        self.radii = radii
        self.squared_radii = np.square(radii[:, -1].clip(min=0))
        self.largest_squared = max(self.squared_radii.max(), SMALLEST_NORMAL32)
        # A point's power is radius^2 - distance^2; empty balls get the lowest power.
        empty = 8 * (base.norms.max() + self.squared_radii.max() + 1)
        rows = np.empty((len(base), width + 2), np.float32)
        rows[:, :-2] = base.vectors()
        rows[:, -2] = np.where(radii[:, -1] < 0, -empty, -base.norms) / 2
        rows[:, -1] = self.squared_radii / 2
        self.index = FlatIndex("ip", rows)

    def nearest_candidates(
        self, rows: np.ndarray, fetch: int, self_rows: np.ndarray | None
    ) -> tuple[BoundedCandidates, Callable[[np.ndarray], np.ndarray]]:
        """Fetch the base rows with the nearest sketches.

        Also returns a function float64 [b] -> bool [b]: whether all rows that were not fetched
        surely lie beyond a distance.
        """
        squared32, ids = self.index.search(self.queries.vectors(rows), fetch)
        squared, of_queries = squared32.astype(np.float64), self.queries.norms[rows]
        if self_rows is not None:
            ids[ids == self_rows[rows, None]] = -1
        error = squared_error_bound(self.terms, of_queries[:, None] + self.base.norms[ids])

        def surely_beyond(distance: np.ndarray) -> np.ndarray:
            # A row y within this distance of x has |y|^2 <= 2 |x|^2 + 2 distance^2.
            limit = np.square(distance)
            wrong = squared_error_bound(self.terms, 3 * of_queries + 2 * limit)
            return (squared[:, -1] > limit + wrong) | (fetch >= len(self.base))

        return self._candidates(rows, ids, squared, error), surely_beyond

    def deepest_balls(
        self,
        rows: np.ndarray,
        fetch: int,
        reached: np.ndarray | None = None,
        *,
        beyond: bool = False,
    ) -> tuple[BoundedCandidates, np.ndarray]:
        """Fetch the balls in which the queries lie deepest.

        Also returns whether these are all balls that could contain the query, bool [b]. reached:
        float64 [b]; the radii are multiplied by 1 / reached. beyond: also return balls that do not
        contain the query; their bounds are estimates.
        """
        z, of_queries = self.queries.vectors(rows), self.queries.norms[rows]
        growth = np.ones(len(z)) if reached is None else np.square(1 / reached)
        # Rounded up to float32, so that no ball shrinks.
        growth = np.nextafter(growth.astype(np.float32), np.float32(np.inf))
        columns = [z, np.ones(len(z), np.float32), growth]
        scores, ids = self.index.search(np.column_stack(columns), fetch)
        power = 2 * scores.astype(np.float64) - of_queries[:, None]
        growth64 = growth.astype(np.float64)
        # |y|^2 <= 2 |x|^2 + 2 radius^2 for a ball around y that holds x.
        error = squared_error_bound(self.terms, 3 * (of_queries + self.largest_squared * growth64))[
            :, None
        ]
        if not beyond:
            ids = np.where(power >= -error, ids, -1)
        squared = self.squared_radii[ids] * growth64[:, None] - power
        complete = (power[:, -1] < -error[:, 0]) | (fetch >= len(self.base))
        return self._candidates(rows, ids, squared, error), complete

    def _candidates(
        self, rows: np.ndarray, ids: np.ndarray, squared: np.ndarray, error: np.ndarray
    ) -> BoundedCandidates:
        """Turn squared distances and their errors, float64 [b, c], into bounds."""
        is_missing = ids < 0
        low = np.where(is_missing, np.inf, error_bounds.clipped_sqrt(squared - error))
        high = np.where(
            is_missing,
            np.inf,
            error_bounds.clipped_sqrt(squared + error) if self.sketch.exact else np.inf,
        )
        return BoundedCandidates(self.queries.features[rows], self.base.features, ids, low, high)

    def refine(
        self, candidates: BoundedCandidates, mask: np.ndarray | None = None
    ) -> BoundedCandidates:
        """Tighten the bounds by differences in float32, where mask, bool [b, c], is set.

        Without a mask, all bounds are tightened.
        """
        if self.sketch.exact:
            return candidates
        ids = candidates.ids if mask is None else np.where(mask, candidates.ids, -1)
        low, high = self.bounds32.bounds(candidates.queries, ids)
        is_present = ids >= 0
        return replace(
            candidates,
            low=np.where(is_present, np.maximum(low, candidates.low), candidates.low),
            high=np.where(is_present, np.minimum(high, candidates.high), candidates.high),
        )

    def refine_nearest(self, candidates: BoundedCandidates, k: int) -> BoundedCandidates:
        """Tighten the bounds of all candidates that could be among the k nearest."""
        if self.sketch.exact:
            return candidates
        first = np.zeros(candidates.ids.shape, bool)
        first[:, : k + 1 + _SPARE_NEIGHBORS // 2] = True
        candidates = self.refine(candidates, first)
        return self.refine(
            candidates,
            ~first & (candidates.low <= error_bounds.kth_distance_bound(candidates.high, k)),
        )

    def any_inside(self, candidates: BoundedCandidates) -> np.ndarray:
        """Compute whether any candidate's ball contains the query, bool [b, K].

        The likely balls come first; the others are skipped if these suffice.
        """
        flags = np.zeros((len(candidates.ids), self.radii.shape[1]), bool)
        undecided = np.arange(len(flags))
        for stage in _STAGES:
            stage_candidates = BoundedCandidates(
                candidates.queries[undecided],
                candidates.base,
                np.ascontiguousarray(candidates.ids[undecided, stage]),
                candidates.low[undecided, stage],
                candidates.high[undecided, stage],
            )
            flags[undecided] |= error_bounds.inside_balls(
                self.refine(stage_candidates), self.radii
            ).any(axis=1)
            undecided = undecided[~flags[undecided].all(axis=1)]
        return flags

    def all_candidates(
        self, rows: np.ndarray, self_rows: np.ndarray | None = None
    ) -> BoundedCandidates:
        """Return all base rows as candidates, with bounds from products in float64."""
        queries, base = self.queries.features[rows], self.base.features
        x = queries.astype(np.float64) - self.sketch.center
        squared = np.empty((len(x), len(self.base)))
        norms = squared_norms(x)[:, None]
        error = np.empty_like(squared)
        for block in row_slices(len(self.base), BLOCK):
            y = base[block].astype(np.float64) - self.sketch.center
            scale = norms + squared_norms(y)
            squared[:, block] = scale - 2 * (x @ y.T)
            error[:, block] = squared_error_bound(x.shape[1], scale, ROUNDOFF64)
        ids = np.broadcast_to(np.arange(len(self.base)), squared.shape).copy()
        if self_rows is not None:
            ids[ids == self_rows[rows, None]] = -1
        low = np.where(ids < 0, np.inf, error_bounds.clipped_sqrt(squared - error))
        high = np.where(ids < 0, np.inf, error_bounds.clipped_sqrt(squared + error))
        return BoundedCandidates(queries, base, ids, low, high)


class Float32Bounds:
    """Distances from differences in float32, and bounds on their rounding error."""

    def __init__(self, queries: np.ndarray, base: np.ndarray) -> None:
        self.base = base
        self.relative = (base.shape[1] + 8) * ROUNDOFF32
        self.absolute = 1e-17  # for squares that underflow in float32
        if queries.dtype != np.float32 or base.dtype != np.float32:  # the cast rounds them
            largest = max(float(np.abs(queries).max()), float(np.abs(base).max()))
            self.absolute += 2 * ROUNDOFF32 * largest * base.shape[1] ** 0.5

    @cached_property
    def base32(self) -> np.ndarray:
        """The base rows, float32 [m, d]; not copied if they are float32."""
        return np.ascontiguousarray(self.base, np.float32)

    def bounds(self, queries: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bound the distances from below and above, float64 [b, c]; infinite where the id is -1."""
        queries32 = np.ascontiguousarray(queries, np.float32)
        distances = float32_distances(queries32, self.base32, np.ascontiguousarray(ids))
        low = distances * (1 - self.relative) - self.absolute
        return low.clip(min=0), distances * (1 + self.relative) + self.absolute
