"""Every engine gives the answers of brute force, to the bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from raymetrics.metrics.manifold_survey import radii_up_to_median, survey_manifolds
from raymetrics.statistics import NearestNeighbors
from raymetrics.statistics.ball_membership import BallMembership
from tests.helpers import oracles
from tests.helpers.exact_search import ExactSearch
from tests.helpers.neighbor_cases import (
    ENGINES,
    KS,
    WORLDS,
    cases,
    find_balls,
    gaussian,
)

EXACT = ExactSearch()
worlds = pytest.mark.parametrize("name", WORLDS)


def assert_equal(found: BallMembership, expected: BallMembership) -> None:
    assert_array_equal(found.hits, expected.hits)
    assert_array_equal(found.occupancy, expected.occupancy)
    assert_array_equal(found.realism, expected.realism)


@worlds
def test_nearest(engine: Any, name: str) -> None:
    for case in cases(name):
        queries, base = engine.prepare(case.queries, case.base)
        assert_array_equal(engine.nearest(base, base, max(KS)), case.base_neighbors)
        assert_array_equal(engine.nearest(queries, base, max(KS)), case.query_neighbors)


@cache
def nearest_rows(name: str) -> list[tuple[NearestNeighbors, NearestNeighbors]]:
    """The neighbors of the queries and, among others, of the base, of both cases of a world."""
    return [
        (
            EXACT.nearest_neighbors(case.queries, case.base, 7),
            EXACT.nearest_neighbors(case.base, case.base, 7),
        )
        for case in cases(name)
    ]


def assert_same_neighbors(found: NearestNeighbors, expected: NearestNeighbors) -> None:
    assert_array_equal(found.distances, expected.distances)
    assert_array_equal(found.rows, expected.rows)


@pytest.mark.parametrize(
    "name",
    ["gaussian 8 30 float32", "lattice", "far_lattice", "duplicates", "constant_rows", "one_row",
     "mixed_types", "shells", "float32_extremes"],
)  # fmt: skip
def test_nearest_neighbors(engine: Any, name: str) -> None:
    """Of ties, which duplicates and lattices are full of, the smaller rows."""
    for case, (of_queries, of_base) in zip(cases(name), nearest_rows(name), strict=True):
        queries, base = engine.prepare(case.queries, case.base)
        assert_same_neighbors(engine.nearest_neighbors(queries, base, 7), of_queries)
        assert_same_neighbors(engine.nearest_neighbors(base, base, 7), of_base)


def test_the_smallest_rows_of_many_copies(engine: Any, rng: np.random.Generator) -> None:
    """Far more copies than a row keeps, in an order in which the smallest come late too."""
    base = np.tile(rng.normal(size=(3, 4)), (150, 1)).astype(np.float32)
    found = engine.nearest_neighbors(*engine.prepare(base[440:], base), 4)
    first = np.arange(440, 450) % 3
    assert_array_equal(found.rows, first[:, None] + [0, 3, 6, 9])
    assert not found.distances.any()


@worlds
def test_hits_occupied_and_realism(engine: Any, name: str) -> None:
    for case in cases(name):
        placed = engine.prepare(case.queries, case.base)
        assert_equal(
            find_balls(engine, *placed, case.radii, realism_radii=case.realism_radii), case.balls
        )


@worlds
def test_flags_without_counts(engine: Any, name: str) -> None:
    for case in cases(name):
        placed = engine.prepare(case.queries, case.base)
        for some in (slice(None), slice(1)):
            found = find_balls(engine, *placed, case.radii[:, some], count=False)
            assert_array_equal(found.hits > 0, case.balls.hits[:, some] > 0)


@worlds
def test_open_balls(engine: Any, name: str) -> None:
    """The largest number below the radius; of radius 0 that is an empty ball."""
    for case in cases(name):
        placed = engine.prepare(case.queries, case.base)
        found = find_balls(engine, *placed, case.open_radii)
        assert_array_equal(found.hits, case.open_balls.hits)
        assert_array_equal(found.occupancy, case.open_balls.occupancy)


@pytest.mark.parametrize("name", ["gaussian 8 30 float32", "lattice", "outlier", "one_row"])
@pytest.mark.parametrize("count", [True, False])
def test_both_ways_is_each_way(engine: Any, name: str, count: bool) -> None:
    of_other, of_one = cases(name)
    by_one, by_other = engine.balls_both_directions(
        *engine.prepare(of_other.base, of_other.queries),
        of_other.radii,
        of_one.radii,
        count=count,
        realism_radii=of_other.realism_radii,
    )
    assert_array_equal(by_one.hits > 0, of_other.balls.hits > 0)
    assert_array_equal(by_one.realism, of_other.balls.realism)
    assert_array_equal(by_other.hits > 0, of_one.balls.hits > 0)
    if count:
        assert_equal(by_one, of_other.balls)


def test_a_set_in_its_own_balls(engine: Any) -> None:
    """Each sample lies in its own ball, though it is not its own neighbour."""
    case, _ = cases("gaussian 8 30 float32")
    (placed,) = engine.prepare(case.base)
    for count, realism in ((True, case.realism_radii), (False, None)):
        found = engine.balls_both_directions(
            placed, placed, case.radii, case.radii, count=count, realism_radii=realism
        )
        expected = EXACT.balls(case.base, case.base, case.radii, realism_radii=realism)
        for balls in found:
            assert_array_equal(balls.hits > 0, expected.hits > 0)
        if count:
            assert_equal(found[0], expected)


@pytest.mark.parametrize("kind", ["gaussian 2 0 float32", "gaussian 64 0 float64", "lattice"])
@pytest.mark.parametrize("k", [1, 3])
def test_the_textbook(engine: Any, kind: str, k: int) -> None:
    """Copies of real features lie on the centres of balls, ties on their surface."""
    case, _ = cases(kind)
    real, generated = case.base[:40], case.queries[-40:]
    found = survey_manifolds(
        real=real, generated=generated, ks=[k], search=engine, count=True, realism=True
    )
    for queries, features, balls in (
        (generated, real, found.generated_in_real),
        (real, generated, found.real_in_generated),
    ):
        expected = oracles.manifold_flags(queries, features, k)
        assert_array_equal(balls.hits[:, 0] > 0, expected)
    hits, occupancy, realism = oracles.balls(generated, real, k)
    assert_array_equal(found.generated_in_real.hits[:, 0], hits)
    assert_array_equal(found.generated_in_real.occupancy[:, 0], occupancy)
    assert_allclose(found.generated_in_real.realism, realism, rtol=1e-13)


@pytest.mark.parametrize("ks", [[1], [7, 2], [1, 2, 3, 4, 5, 6]])
def test_any_numbers_of_neighbours(engine: Any, rng: np.random.Generator, ks: list[int]) -> None:
    real, generated = gaussian(rng)
    found, expected = (
        survey_manifolds(real=real, generated=generated, ks=ks, search=search, realism=True)
        for search in (engine, EXACT)
    )
    assert found.ks == tuple(sorted(ks))
    assert_array_equal(found.real_radii, expected.real_radii)
    assert_array_equal(found.generated_radii, expected.generated_radii)
    assert_equal(found.generated_in_real, expected.generated_in_real)
    assert_equal(found.real_in_generated, expected.real_in_generated)


def test_both_directions_at_once_are_each_direction(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    found = engine.nearest_both_directions(*engine.prepare(real, generated), 4)
    assert_array_equal(found[0], EXACT.nearest(real, generated, 4))
    assert_array_equal(found[1], EXACT.nearest(generated, real, 4))


def test_more_neighbours_than_there_are(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    queries, base = engine.prepare(generated, real[:3])
    found = engine.nearest(queries, base, 5)
    assert_array_equal(found[:, :3], EXACT.nearest(generated, real[:3], 3))
    assert np.isinf(found[:, 3:]).all()
    named = engine.nearest_neighbors(queries, base, 5)
    assert_array_equal(named.distances, found)
    assert (named.rows[:, 3:] == -1).all()


def test_only_the_own_number_is_left_out(engine: Any) -> None:
    """Not the distance 0, which a copy has too."""
    points = np.array([[0.0, 0], [0, 0], [3, 4]], np.float32)
    (placed,) = engine.prepare(points)
    found = engine.nearest(placed, placed, 2)
    assert_array_equal(found, [[0, 5], [0, 5], [5, 5]])


def test_no_queries(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    none, base = engine.prepare(generated[:0], real)
    assert engine.nearest(none, base, 3).shape == (0, 3)
    assert engine.nearest_neighbors(none, base, 3).rows.shape == (0, 3)
    found = find_balls(
        engine, none, base, np.ones((len(real), 2)), realism_radii=np.ones(len(real))
    )
    assert_equal(found, BallMembership.empty(0, len(real), 2))


def test_no_base(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    queries, none = engine.prepare(generated, real[:0])
    assert_array_equal(engine.nearest(queries, none, 3), np.full((len(generated), 3), np.inf))
    found = find_balls(engine, queries, none, np.ones((0, 2)), realism_radii=np.ones(0))
    assert_equal(found, BallMembership.empty(len(generated), 0, 2))


def test_nothing_at_all(engine: Any) -> None:
    none, base = engine.prepare(np.zeros((0, 4)), np.zeros((0, 4)))
    assert engine.nearest(none, base, 2).shape == (0, 2)


def test_balls_below_0_are_empty(engine: Any, rng: np.random.Generator) -> None:
    """Even around the query itself."""
    real, _ = gaussian(rng)
    placed = engine.prepare(real, real)
    nothing = np.full((len(real), 2), -1.0)
    found = find_balls(engine, *placed, nothing, realism_radii=nothing[:, 0])
    assert_equal(found, BallMembership.empty(len(real), len(real), 2))
    assert not find_balls(engine, *placed, nothing, count=False).hits.any()


def test_some_empty_balls_among_others(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    reach = np.sort(rng.normal(0, 2, size=(len(real), 3)), axis=1)
    assert (reach[:, 0] < 0).any()
    assert (reach[:, 2] < 0).any()
    for realism_radii in (reach[:, 0], reach[:, 2]):
        found = find_balls(
            engine, *engine.prepare(generated, real), reach, realism_radii=realism_radii
        )
        assert_equal(found, EXACT.balls(generated, real, reach, realism_radii=realism_radii))


def test_balls_of_radius_0_hold_copies_of_their_centres(
    engine: Any, rng: np.random.Generator
) -> None:
    real, generated = gaussian(rng)
    zeros = np.zeros((len(real), 1))
    found = find_balls(engine, *engine.prepare(generated, real), zeros, realism_radii=zeros[:, 0])
    assert_equal(found, EXACT.balls(generated, real, zeros, realism_radii=zeros[:, 0]))
    assert_array_equal(found.hits[:, 0], np.repeat([0, 1], [50, 20]))


@pytest.mark.parametrize("size", [1, 1e5, 1e20, 1e30])
def test_a_set_placed_later(engine: Any, rng: np.random.Generator, size: float) -> None:
    """On a centre and scale that are not its own, and too small for its numbers."""
    real, generated = gaussian(rng)
    (base,) = engine.prepare(real)
    later = (generated * np.float32(50) + np.float32(1000)) * np.float32(size)
    later[::7] = generated[::7]
    reach = EXACT.nearest(real, real, 3) + 200 * rng.random(size=(len(real), 1))
    queries = engine.prepare_like(base, later)
    assert_array_equal(engine.nearest(queries, base, 3), EXACT.nearest(later, real, 3))
    found = find_balls(engine, queries, base, reach, realism_radii=reach[:, 0])
    assert_equal(found, EXACT.balls(later, real, reach, realism_radii=reach[:, 0]))
    assert_array_equal(engine.nearest(base, queries, 3), EXACT.nearest(real, later, 3))


def test_copies_settle_a_row(engine: Any, rng: np.random.Generator) -> None:
    """More copies of a row than candidates are kept, at distance 0 of each other."""
    same = np.repeat(rng.normal(size=(3, 4)), 120, axis=0).astype(np.float32)
    (placed,) = engine.prepare(same)
    found = engine.nearest(placed, placed, 3)
    assert_array_equal(found, np.zeros((360, 3)))


def test_ties_at_another_distance_than_0(engine: Any) -> None:
    """The corners of a cube: each has ever more others at equal distances."""
    corners = np.array(np.meshgrid(*[[0, 1]] * 8)).reshape(8, -1).T.astype(np.float32) + 3
    (placed,) = engine.prepare(corners)
    found = engine.nearest(placed, placed, 40)
    assert_array_equal(found, EXACT.nearest(corners, corners, 40))


def test_far_from_all_balls(engine: Any, rng: np.random.Generator) -> None:
    real = rng.normal(size=(200, 8)).astype(np.float32)
    generated = (rng.normal(size=(50, 8)) + 20).astype(np.float32)
    reach = EXACT.nearest(real, real, 3)
    realism_radii = radii_up_to_median(reach[:, 0])
    found = find_balls(engine, *engine.prepare(generated, real), reach, realism_radii=realism_radii)
    assert_equal(found, EXACT.balls(generated, real, reach, realism_radii=realism_radii))
    assert (found.realism > 0).all()


def test_realism_where_every_ball_has_radius_0(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    zeros = np.zeros(len(real))
    placed = engine.prepare(generated, real)
    found = find_balls(engine, *placed, zeros[:, None], realism_radii=zeros)
    assert_array_equal(found.realism, np.repeat([0, np.inf], [50, 20]))


def test_realism_too_small_for_a_tile(engine: Any, rng: np.random.Generator) -> None:
    real, generated = gaussian(rng)
    radii = np.full(len(real), 1e-12)
    found = find_balls(
        engine, *engine.prepare(generated[:50], real), radii[:, None], realism_radii=radii
    )
    expected = EXACT.balls(generated[:50], real, radii[:, None], realism_radii=radii)
    assert_equal(found, expected)
    assert (found.realism > 0).all()


def test_a_point_at_the_centre_far_from_all_others(engine: Any) -> None:
    """The smallest distances beside the largest radii."""
    real = 1e6 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    generated = np.zeros((3, 2), np.float32)
    reach = np.full((5, 1), 1e6)
    found = find_balls(engine, *engine.prepare(generated, real), reach, realism_radii=reach[:, 0])
    assert_equal(found, EXACT.balls(generated, real, reach, realism_radii=reach[:, 0]))


@pytest.mark.parametrize("name", ENGINES)
def test_no_tile_and_no_index_writes_to_the_features(name: str, rng: np.random.Generator) -> None:
    sets = gaussian(rng)
    before = [features.copy() for features in sets]
    survey_manifolds(real=sets[0], generated=sets[1], ks=KS, search=ENGINES[name](), realism=True)
    for features, was in zip(sets, before, strict=True):
        assert_array_equal(features, was)


@cache
def balls_and_misses(name: str) -> tuple[BallMembership, tuple[float, float], Any]:
    """Solve a world: its base among itself, and the products within two reaches."""
    case, _ = cases(name)
    reaches = float(np.median(case.radii)), 2 * float(np.median(case.radii[:, 0]))
    misses = EXACT.misses_both_directions(case.base, case.queries, *reaches)
    return EXACT.balls_among_others(case.base, case.radii), reaches, misses


@worlds
def test_balls_among_others(engine: Any, name: str) -> None:
    """Each row among the balls of the others, copies of it among them, by half of the tiles."""
    case, _ = cases(name)
    (prepared,) = engine.prepare(case.base)
    expected, _, _ = balls_and_misses(name)
    assert_equal(engine.balls_among_others(prepared, case.radii), expected)


@worlds
def test_misses(engine: Any, name: str) -> None:
    """To rounding; of a reach of 0 there are none."""
    case, _ = cases(name)
    sets = engine.prepare(case.base, case.queries)
    _, reaches, expected = balls_and_misses(name)
    found = engine.misses_both_directions(*sets, *reaches)
    for products, true in zip(found, expected, strict=True):
        assert_allclose(products, true, rtol=1e-6, atol=1e-12)
    assert (engine.misses_both_directions(*sets, 0.0, 0.0)[0] == 1).all()
