"""Exact neighbours with FAISS flat indexes: float32 for speed, float64 where it matters.

The index holds sketches of the features: all of them (`FlatSearch`), or a few coordinates whose
distances are lower bounds (`LowerBoundSearch`), which is several times faster where features lie
near a subspace, as those of networks do. Either way some more candidates are fetched than asked
for, those that matter are computed again, and a certificate says that no other row can matter:
what was not fetched seems farther than what was found, by more than rounding can be wrong. Where
the certificate fails more is fetched, and at last everything is looked at in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from raymetrics.neighbors import error_bounds
from raymetrics.neighbors.error_bounds import UNIT32, UNIT64, VANISHING, Candidates, squared_error
from raymetrics.neighbors.faiss_indexes import (
    LARGEST_FETCH,
    FlatIndex,
    blocks,
    load_faiss,
    rough_distances,
)
from raymetrics.neighbors.projections import (
    SAMPLE,
    Full,
    LowerBound,
    Placed,
    Sketch,
    joint_mean,
    leading_directions,
    sample,
    scaled_radii,
    squared_norms,
    unit_scale,
)
from raymetrics.statistics.ball_membership import Balls

SPARE = 8  # neighbours fetched beyond the k-th
BLOCK = 1024  # queries at a time
EVERYTHING = 2**22  # pairs at a time where everything is looked at
SMALLEST_RATIO = 2.0**-40
LEAST_CERTAIN = 0.8  # of a block, or more is fetched for the next one
STAGES = (slice(0, 4), slice(4, 16), slice(16, None))  # of candidates, the likely ones first


class FlatSearch:
    """All coordinates in the index."""

    name = "faiss-flat"
    first_fetch = 1 + SPARE

    def __init__(self) -> None:
        load_faiss()  # says what is missing before anything is read

    def place(self, *sets: np.ndarray) -> tuple[Placed, ...]:
        """Sets of features, real [n, d], on one centre and scale, as other methods take them."""
        scale = unit_scale(*sets)
        sketch = self.sketch(*sets, scale=scale)
        return tuple(Placed(sketch, features, scale) for features in sets)

    def place_like(self, placed: Placed, features: np.ndarray) -> Placed:
        """Another set, on the centre and scale of one that was placed before."""
        return Placed(placed.sketch, features, placed.scale)

    def sketch(self, *sets: np.ndarray, scale: float) -> Sketch:
        """What the index holds of the rows."""
        return Full(joint_mean(*sets) * scale)

    def nearest(
        self, queries: Placed, base: Placed, k: int, own: np.ndarray | None = None
    ) -> np.ndarray:
        """The k smallest distances of each query to base rows other than its own.

        own: int64 [n], the base row that each query is, -1 where it is none. float64 [n, k],
        ascending; infinite where there are fewer rows.
        """
        if not len(base) or not len(queries):
            return np.full((len(queries), k), np.inf)
        look = Look(queries, base)

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            found, surely_beyond = look.near(rows, fetch, own)
            values = error_bounds.nearest(look.refined_for(found, k), k)
            return values, surely_beyond(values[:, -1])

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return error_bounds.nearest(look.everything(rows, own), k)

        found = np.empty((len(queries), k))
        fetch = k + self.first_fetch
        return certified(found, attempt, exhaust, fetch, len(base)) / base.scale

    def balls(
        self,
        queries: Placed,
        centres: Placed,
        radii: np.ndarray,
        *,
        count: bool = True,
        lesser: np.ndarray | None = None,
    ) -> Balls:
        """Which closed balls hold which queries.

        radii: float64 [m, K], ascending in each row; below 0 a ball is empty. Without `count`
        hits is 1 or 0 and nothing is occupied, which is faster. lesser: the radii for realism,
        float64 [m].
        """
        found = Balls.empty(len(queries), *radii.shape)
        if not len(centres) or not len(queries):
            return found
        radii = scaled_radii(radii, centres.scale)
        look = Look(queries, centres, radii)
        search = self._count if count else self._cover
        search(look, found)
        if lesser is None:
            return found
        lesser = scaled_radii(lesser, centres.scale)
        scores = self._realism(Look(queries, centres, lesser[:, None]), lesser)
        return Balls(found.hits, found.occupied, scores)

    def both_ways(
        self, one: Placed, other: Placed, radii_of_one: np.ndarray, radii_of_other: np.ndarray,
        *, count: bool = True, lesser: np.ndarray | None = None,
    ) -> tuple[Balls, Balls]:  # fmt: skip
        """The other among the balls of one, counted if asked, with realism for the lesser radii;
        and one among the balls of the other, not counted."""
        return (
            self.balls(other, one, radii_of_one, count=count, lesser=lesser),
            self.balls(one, other, radii_of_other, count=False),
        )

    def _cover(self, look: Look, found: Balls) -> None:
        """Whether any ball holds a query."""

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, complete = look.balls(rows, fetch)
            flags = look.any_held(candidates)
            return flags, complete | flags.all(axis=1)

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return np.asarray(error_bounds.held(look.everything(rows), look.radii).any(axis=1))

        # The deepest ball alone decides, where distances are known but for rounding.
        fetch = 1 if look.sketch.exact else self.first_fetch
        certified(found.hits, attempt, exhaust, fetch, len(look.base))

    def _count(self, look: Look, found: Balls) -> None:
        """How many balls hold a query, and which of them hold any."""

        def count(candidates: Candidates) -> np.ndarray:
            inside = error_bounds.held(candidates, look.radii)
            for radius in range(inside.shape[2]):
                found.occupied[candidates.ids[inside[..., radius]], radius] = True
            return inside.sum(axis=1)

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, complete = look.balls(rows, fetch)
            return count(look.refined(candidates)), complete

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return count(look.everything(rows))

        certified(found.hits, attempt, exhaust, self.first_fetch, len(look.base))

    def _realism(self, look: Look, radii: np.ndarray) -> np.ndarray:
        """Dinkelbach's method: with any ratio that a ball reaches, one search finds all the balls
        that could reach a greater one."""
        reached = np.ones(len(look.queries))

        def first(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, _ = look.balls(rows, fetch, beyond=True)
            return error_bounds.realism(look.refined(candidates), radii), np.ones(len(rows), bool)

        def attempt(rows: np.ndarray, fetch: int) -> tuple[np.ndarray, np.ndarray]:
            candidates, complete = look.balls(rows, fetch, reached[rows])
            best = error_bounds.realism(look.refined(candidates), radii)
            reached[rows] = np.maximum(reached[rows], best)
            return reached[rows], complete | np.isinf(reached[rows])

        def exhaust(rows: np.ndarray) -> np.ndarray:
            return error_bounds.realism(look.everything(rows), radii)

        size = len(look.base)
        reached = certified(np.empty(len(reached)), first, exhaust, self.first_fetch, size)
        # No ratio to start from, as where all radii are 0, or so small a one that float32 does not
        # hold the square of its inverse.
        hopeless = reached < SMALLEST_RATIO
        reached = np.where(hopeless, 1.0, reached)
        found = certified(np.empty(len(reached)), attempt, exhaust, self.first_fetch, size)
        return exhausted(found, np.flatnonzero(hopeless), exhaust, size)


class LowerBoundSearch(FlatSearch):
    """A few coordinates in the index, and the length of the rest."""

    first_fetch = 64

    def __init__(self, dimensions: int = 128) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.name = f"faiss-lower-bound-{dimensions}"

    def sketch(self, *sets: np.ndarray, scale: float) -> Sketch:
        """What the index holds of the rows."""
        centre = joint_mean(*sets) * scale
        rows = np.concatenate([sample(features, SAMPLE // len(sets)) for features in sets])
        dimensions = min(self.dimensions, rows.shape[1])
        return LowerBound(centre, leading_directions(rows * scale, centre, dimensions))


Attempt = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def certified(
    found: np.ndarray,
    attempt: Attempt,
    exhaust: Callable[[np.ndarray], np.ndarray],
    fetch: int,
    size: int,
) -> np.ndarray:
    """Fills `found` [n, ...] for all queries: by attempts that fetch more and more candidates of
    `size`, each for the queries that the last one could not certify, and exhaustively at last.

    attempt(rows, fetch) gives the answers for some queries and which of them are certain. Where
    many of a block are not, the next blocks fetch more at once.
    """
    pending = np.arange(len(found))
    while len(pending) and fetch <= LARGEST_FETCH:
        uncertain, start = [], 0
        while start < len(pending):
            rows = pending[start : start + max(16, min(BLOCK, 2**17 // fetch))]
            start += len(rows)
            found[rows], certain = attempt(rows, min(fetch, size))
            uncertain.append(rows[~certain])
            if certain.mean() < LEAST_CERTAIN and 2 * fetch <= LARGEST_FETCH:
                fetch *= 2
        pending = np.concatenate(uncertain)
        if fetch >= size:
            break
        fetch *= 4
    return exhausted(found, pending, exhaust, size)


def exhausted(
    found: np.ndarray, rows: np.ndarray, exhaust: Callable[[np.ndarray], np.ndarray], size: int
) -> np.ndarray:
    """Fills `found` for these queries by looking at all of `size` candidates, a few at a time."""
    for some in blocks(len(rows), max(1, EVERYTHING // size)):
        found[rows[some]] = exhaust(rows[some])
    return found


class Look:
    """One set of queries among one set of base rows, of which the sketches are indexed."""

    def __init__(self, queries: Placed, base: Placed, radii: np.ndarray | None = None) -> None:
        self.sketch, self.queries, self.base = base.sketch, queries, base
        self.rough = Rough(queries.features, base.features)
        width = base.vectors(slice(0, 1)).shape[1]
        self.terms = width + 2
        if radii is None:
            self.index = FlatIndex("l2", base.vectors())
            return
        self.radii = radii
        self.squared = np.square(radii[:, -1].clip(min=0))
        self.largest = max(self.squared.max(), VANISHING)
        # A point's power is radius^2 - distance^2; that of empty balls is beyond all others.
        empty = 8 * (base.norms.max() + self.squared.max() + 1)
        rows = np.empty((len(base), width + 2), np.float32)
        rows[:, :-2] = base.vectors()
        rows[:, -2] = np.where(radii[:, -1] < 0, -empty, -base.norms) / 2
        rows[:, -1] = self.squared / 2
        self.index = FlatIndex("ip", rows)

    def near(
        self, rows: np.ndarray, fetch: int, own: np.ndarray | None
    ) -> tuple[Candidates, Callable[[np.ndarray], np.ndarray]]:
        """The nearest sketches; and a function that says for which queries all that was not
        fetched is surely beyond a distance, float64 [b] -> bool [b]."""
        squared32, ids = self.index.search(self.queries.vectors(rows), fetch)
        squared, of_queries = squared32.astype(np.float64), self.queries.norms[rows]
        if own is not None:
            ids[ids == own[rows, None]] = -1
        error = squared_error(self.terms, of_queries[:, None] + self.base.norms[ids])

        def surely_beyond(distance: np.ndarray) -> np.ndarray:
            # A row y within this distance of x has |y|^2 <= 2 |x|^2 + 2 distance^2.
            limit = np.square(distance)
            wrong = squared_error(self.terms, 3 * of_queries + 2 * limit)
            return (squared[:, -1] > limit + wrong) | (fetch >= len(self.base))

        return self._candidates(rows, ids, squared, error), surely_beyond

    def balls(
        self, rows: np.ndarray, fetch: int, reached: np.ndarray | None = None,
        *, beyond: bool = False,
    ) -> tuple[Candidates, np.ndarray]:  # fmt: skip
        """The balls in which the queries are deepest, and whether these are all that could hold
        them, bool [b]; with `reached`, float64 [b], of balls larger by 1 / reached.

        beyond: also balls that do not hold them; the bounds are then estimates.
        """
        z, of_queries = self.queries.vectors(rows), self.queries.norms[rows]
        grown = np.ones(len(z)) if reached is None else np.square(1 / reached)
        # As float32 has it, rounded up: no ball is made smaller.
        grown = np.nextafter(grown.astype(np.float32), np.float32(np.inf))
        columns = [z, np.ones(len(z), np.float32), grown]
        scores, ids = self.index.search(np.column_stack(columns), fetch)
        power = 2 * scores.astype(np.float64) - of_queries[:, None]
        grown64 = grown.astype(np.float64)
        # |y|^2 <= 2 |x|^2 + 2 radius^2 for a ball around y that holds x.
        error = squared_error(self.terms, 3 * (of_queries + self.largest * grown64))[:, None]
        if not beyond:
            ids = np.where(power >= -error, ids, -1)
        squared = self.squared[ids] * grown64[:, None] - power
        complete = (power[:, -1] < -error[:, 0]) | (fetch >= len(self.base))
        return self._candidates(rows, ids, squared, error), complete

    def _candidates(
        self, rows: np.ndarray, ids: np.ndarray, squared: np.ndarray, error: np.ndarray
    ) -> Candidates:
        none = ids < 0
        low = np.where(none, np.inf, error_bounds.root(squared - error))
        high = np.where(
            none, np.inf, error_bounds.root(squared + error) if self.sketch.exact else np.inf
        )
        return Candidates(self.queries.features[rows], self.base.features, ids, low, high)

    def refined(self, found: Candidates, which: np.ndarray | None = None) -> Candidates:
        """With bounds from differences, where they are needed; bool [b, c], or everywhere."""
        if self.sketch.exact:
            return found
        ids = found.ids if which is None else np.where(which, found.ids, -1)
        low, high = self.rough.bounds(found.queries, ids)
        some = ids >= 0
        return replace(
            found,
            low=np.where(some, np.maximum(low, found.low), found.low),
            high=np.where(some, np.minimum(high, found.high), found.high),
        )

    def refined_for(self, found: Candidates, k: int) -> Candidates:
        """With bounds from differences for all that could be among the k nearest."""
        if self.sketch.exact:
            return found
        first = np.zeros(found.ids.shape, bool)
        first[:, : k + 1 + SPARE // 2] = True
        found = self.refined(found, first)
        return self.refined(found, ~first & (found.low <= error_bounds.kth(found.high, k)))

    def any_held(self, found: Candidates) -> np.ndarray:
        """Whether any candidate's ball holds the query, bool [b, K]; the likely ones first."""
        flags = np.zeros((len(found.ids), self.radii.shape[1]), bool)
        left = np.arange(len(flags))
        for stage in STAGES:
            part = Candidates(
                found.queries[left],
                found.base,
                np.ascontiguousarray(found.ids[left, stage]),
                found.low[left, stage],
                found.high[left, stage],
            )
            flags[left] |= error_bounds.held(self.refined(part), self.radii).any(axis=1)
            left = left[~flags[left].all(axis=1)]
        return flags

    def everything(self, rows: np.ndarray, own: np.ndarray | None = None) -> Candidates:
        """All base rows as candidates, with bounds from products in float64."""
        queries, base = self.queries.features[rows], self.base.features
        x = queries.astype(np.float64) - self.sketch.centre
        squared = np.empty((len(x), len(self.base)))
        norms = squared_norms(x)[:, None]
        error = np.empty_like(squared)
        for some in blocks(len(self.base), BLOCK):
            y = base[some].astype(np.float64) - self.sketch.centre
            scale = norms + squared_norms(y)
            squared[:, some] = scale - 2 * (x @ y.T)
            error[:, some] = squared_error(x.shape[1], scale, UNIT64)
        ids = np.broadcast_to(np.arange(len(self.base)), squared.shape).copy()
        if own is not None:
            ids[ids == own[rows, None]] = -1
        low = np.where(ids < 0, np.inf, error_bounds.root(squared - error))
        high = np.where(ids < 0, np.inf, error_bounds.root(squared + error))
        return Candidates(queries, base, ids, low, high)


class Rough:
    """Distances in float32 from differences, and how wrong they can be."""

    def __init__(self, queries: np.ndarray, base: np.ndarray) -> None:
        self.base = base
        self.relative = (base.shape[1] + 8) * UNIT32
        self.absolute = 1e-17  # squares that vanish in float32
        if queries.dtype != np.float32 or base.dtype != np.float32:  # which rounds them
            largest = max(float(np.abs(queries).max()), float(np.abs(base).max()))
            self.absolute += 2 * UNIT32 * largest * base.shape[1] ** 0.5

    @cached_property
    def base32(self) -> np.ndarray:
        """float32 [m, d]; the base itself if it is that."""
        return np.ascontiguousarray(self.base, np.float32)

    def bounds(self, queries: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """No more and no less than the distances, float64 [b, c]; infinite where the id is -1."""
        queries32 = np.ascontiguousarray(queries, np.float32)
        rough = rough_distances(queries32, self.base32, np.ascontiguousarray(ids))
        low = rough * (1 - self.relative) - self.absolute
        return low.clip(min=0), rough * (1 + self.relative) + self.absolute
