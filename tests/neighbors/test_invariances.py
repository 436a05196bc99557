"""What does not change the answers of an engine, and how answers follow from each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from raymetrics.metrics.manifold_survey import ManifoldSurvey, radii_up_to_median, survey_manifolds
from raymetrics.statistics.ball_membership import BallMembership
from raymetrics.statistics.knn_distances import NearestDistances
from tests.helpers.exact_search import ExactSearch
from tests.helpers.neighbor_cases import ENGINES, find_balls

engines = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
Engine = Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Pair:
    real: np.ndarray
    generated: np.ndarray
    rng: np.random.Generator

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> Pair:
        return Pair(change(self.real), change(self.generated), self.rng)

    def survey(
        self, engine: Engine, ks: tuple[int, ...] = (1, 2, 4), **asked: bool
    ) -> ManifoldSurvey:
        return survey_manifolds(
            real=self.real, generated=self.generated, ks=ks, search=engine(), realism=True, **asked
        )


@st.composite
def pairs(draw: st.DrawFn, ties: bool = True) -> Pair:
    """Multiples of 2**-10, or of 1 for ties, so that not too large sums of them are exact."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m, d = draw(st.integers(5, 40)), draw(st.integers(5, 40)), draw(st.integers(1, 6))
    steps = 1 if ties and draw(st.booleans()) else 1024
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    real, generated = (rng.integers(-2 * steps, 2 * steps, (k, d)) / steps for k in (n, m))
    return Pair(real.astype(dtype), generated.astype(dtype), rng)


def assert_same_balls(found: BallMembership, expected: BallMembership) -> None:
    assert_array_equal(found.hits, expected.hits)
    assert_array_equal(found.occupancy, expected.occupancy)
    assert_array_equal(found.realism, expected.realism)


def assert_same(found: ManifoldSurvey, expected: ManifoldSurvey, factor: float = 1.0) -> None:
    assert_array_equal(found.real_radii, expected.real_radii * factor)
    assert_array_equal(found.generated_radii, expected.generated_radii * factor)
    assert_same_balls(found.generated_in_real, expected.generated_in_real)
    assert_same_balls(found.real_in_generated, expected.real_in_generated)


@engines
@given(pair=pairs())
@settings(deadline=None, max_examples=25)
def test_arbitrary_sets(engine: Engine, pair: Pair) -> None:
    assert_same(pair.survey(engine), pair.survey(ExactSearch))


@engines
@given(pair=pairs())
@settings(deadline=None, max_examples=25)
def test_permuted_rows_permute_the_answers(engine: Engine, pair: Pair) -> None:
    before = pair.survey(engine)
    i = pair.rng.permutation(len(pair.real))
    j = pair.rng.permutation(len(pair.generated))
    after = Pair(pair.real[i], pair.generated[j], pair.rng).survey(engine)
    assert_array_equal(after.real_radii, before.real_radii[i])
    assert_array_equal(after.generated_radii, before.generated_radii[j])
    assert_same_balls(
        after.generated_in_real,
        BallMembership(
            before.generated_in_real.hits[j],
            before.generated_in_real.occupancy[i],
            before.generated_in_real.realism[j],
        ),
    )
    assert_array_equal(after.real_in_generated.hits > 0, before.real_in_generated.hits[i] > 0)


def cut(rows: int, cuts: list[float]) -> list[slice]:
    """Some of them may be empty."""
    borders = [0, *sorted(int(c * rows) for c in cuts), rows]
    return [slice(a, b) for a, b in itertools.pairwise(borders)]


shares = st.lists(st.floats(0, 1), max_size=3)


@engines
@given(pair=pairs(), cuts=shares)
@settings(deadline=None, max_examples=25)
def test_the_nearest_of_the_parts_of_a_base_merge(
    engine: Engine, pair: Pair, cuts: list[float]
) -> None:
    """Every two parts meet once."""
    search, base, k = engine(), pair.real, 3
    (placed,) = search.prepare(base)
    parts = [search.prepare_like(placed, base[some]) for some in cut(len(base), cuts)]
    nearest = [NearestDistances(search.nearest(part, part, k)) for part in parts]
    for i, j in itertools.combinations(range(len(parts)), 2):
        both = search.nearest_both_directions(parts[i], parts[j], k)
        nearest[i] = nearest[i].merge(NearestDistances(both[0]))
        nearest[j] = nearest[j].merge(NearestDistances(both[1]))
    merged = np.concatenate([part.distances for part in nearest])
    assert_array_equal(merged, search.nearest(placed, placed, k))


@engines
@given(pair=pairs(), cuts_of_real=shares, cuts_of_generated=shares)
@settings(deadline=None, max_examples=25)
def test_balls_of_parts_of_both_sets_merge(
    engine: Engine, pair: Pair, cuts_of_real: list[float], cuts_of_generated: list[float]
) -> None:
    search = engine()
    centres, queries = search.prepare(pair.real, pair.generated)
    reach = search.nearest(centres, centres, 3)
    realism_radii = radii_up_to_median(reach[:, 0])
    sizes = len(queries), len(centres)
    cells = [
        find_balls(
            search,
            search.prepare_like(queries, pair.generated[points]),
            search.prepare_like(centres, pair.real[balls]),
            reach[balls],
            realism_radii=realism_radii[balls],
        ).embed(points, balls, sizes)
        for points in cut(len(queries), cuts_of_generated)
        for balls in cut(len(centres), cuts_of_real)
    ]
    merged = reduce(BallMembership.merge, cells, BallMembership.empty(*sizes, 3))
    assert_same_balls(
        merged, find_balls(search, queries, centres, reach, realism_radii=realism_radii)
    )


@engines
@given(pair=pairs(), offset=st.integers(-(2**12), 2**12))
@settings(deadline=None, max_examples=25)
def test_offsets_do_not_matter(engine: Engine, pair: Pair, offset: int) -> None:
    moved = pair.changed(lambda x: x + x.dtype.type(offset))
    assert_same(moved.survey(engine), pair.survey(engine))


@engines
@given(pair=pairs(), power=st.integers(-60, 60))
@settings(deadline=None, max_examples=25)
def test_powers_of_2_scale_the_radii_and_nothing_else(
    engine: Engine, pair: Pair, power: int
) -> None:
    scaled = pair.changed(lambda x: np.ldexp(x, power))
    assert_same(scaled.survey(engine), pair.survey(engine), 2.0**power)


@engines
@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(2, 12))
@settings(deadline=None, max_examples=25)
def test_rotations_do_not_matter(engine: Engine, seed: int, dimension: int) -> None:
    rng = np.random.default_rng(seed)
    pair = Pair(rng.normal(size=(40, dimension)), rng.normal(size=(30, dimension)), rng)
    rotation = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    before = pair.survey(engine)
    after = pair.changed(lambda x: x @ rotation).survey(engine)
    assert_allclose(after.real_radii, before.real_radii, rtol=1e-5)
    assert_allclose(after.generated_in_real.realism, before.generated_in_real.realism, rtol=1e-5)
    assert_array_equal(after.generated_in_real.hits, before.generated_in_real.hits)
    assert_array_equal(after.generated_in_real.occupancy, before.generated_in_real.occupancy)
    assert_array_equal(after.real_in_generated.hits > 0, before.real_in_generated.hits > 0)


@engines
@given(pair=pairs())
@settings(deadline=None, max_examples=25)
def test_precision_is_the_recall_of_swapped_sides(engine: Engine, pair: Pair) -> None:
    one, other = pair.survey(engine), Pair(pair.generated, pair.real, pair.rng).survey(engine)
    assert_array_equal(one.generated_in_real.hits > 0, other.real_in_generated.hits > 0)
    assert_array_equal(one.real_in_generated.hits > 0, other.generated_in_real.hits > 0)
    assert_array_equal(one.real_radii, other.generated_radii)


@engines
@given(pair=pairs())
@settings(deadline=None, max_examples=25)
def test_more_neighbours_never_cover_less(engine: Engine, pair: Pair) -> None:
    found = pair.survey(engine)
    for values in (
        found.real_radii,
        found.generated_in_real.hits,
        found.generated_in_real.occupancy,
    ):
        assert (np.diff(values.astype(float), axis=1) >= 0).all()
    assert (np.diff((found.real_in_generated.hits > 0).astype(int), axis=1) >= 0).all()


@engines
@given(pair=pairs())
@settings(deadline=None, max_examples=25)
def test_counts_are_of_the_flags(engine: Engine, pair: Pair) -> None:
    counted, flagged = pair.survey(engine), pair.survey(engine, count=False)
    hits, flags = counted.generated_in_real.hits, flagged.generated_in_real.hits > 0
    assert_array_equal(hits > 0, flags)
    assert_array_equal(counted.generated_in_real.occupancy.any(axis=0), flags.any(axis=0))
    for membership in (counted.generated_in_real, counted.real_in_generated):
        assert_array_equal(membership.hits.sum(axis=0), membership.occupancy.sum(axis=0))
    assert_array_equal(counted.generated_in_real.realism, flagged.generated_in_real.realism)


@engines
@given(pair=pairs())
@settings(deadline=None, max_examples=25)
def test_copies_of_the_other_side_are_covered(engine: Engine, pair: Pair) -> None:
    generated = np.concatenate([pair.generated, pair.real[:2]])
    found = Pair(pair.real, generated, pair.rng).survey(engine)
    assert (found.generated_in_real.hits[-2:] > 0).all()
