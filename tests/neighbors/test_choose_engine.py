"""The engine that is chosen fits the features, and the answers are the same whichever it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from raymetrics.metrics.manifold_survey import survey_manifolds
from raymetrics.neighbors import (
    ENGINES,
    ExactSearch,
    FlatSearch,
    LowerBoundSearch,
    TileSearch,
    choose_engine,
    fastest_engine,
    make_engine,
)


def low_rank(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    mixing = rng.normal(size=(20, 1024))
    return tuple(
        (rng.normal(size=(n, 20)) @ mixing + 0.01 * rng.normal(size=(n, 1024))).astype(np.float32)
        for n in (200, 150)
    )


def isotropic(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(rng.normal(size=(n, 1024)).astype(np.float32) for n in (200, 150))


def short(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(rng.normal(size=(n, 16)).astype(np.float32) for n in (200, 150))


def tiny(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    return tuple(features[:6] for features in low_rank(rng))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (low_rank, LowerBoundSearch),
        (isotropic, TileSearch),
        (short, TileSearch),
        (tiny, TileSearch),
    ],
)
def test_the_engine_fits_and_answers_as_brute_force(rng, kind, expected) -> None:
    real, generated = kind(rng)
    chosen = fastest_engine(real=real, generated=generated)
    assert type(chosen) is expected
    found, truth = (
        survey_manifolds(real=real, generated=generated, ks=[1, 3], search=search, realism=True)
        for search in (chosen, ExactSearch())
    )
    assert_array_equal(found.real_radii, truth.real_radii)
    assert_array_equal(found.generated_radii, truth.generated_radii)
    assert_array_equal(found.generated_in_real.hits, truth.generated_in_real.hits)
    assert_array_equal(found.generated_in_real.occupied, truth.generated_in_real.occupied)
    assert_array_equal(found.generated_in_real.realism, truth.generated_in_real.realism)
    assert_array_equal(found.real_in_generated.hits > 0, truth.real_in_generated.hits > 0)
    assert found.engine == chosen.name


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 129), (400, 1)])
def test_sets_of_any_sizes_have_an_engine(rng: np.random.Generator, n: int, m: int) -> None:
    real, generated = (rng.normal(size=(k, 600)) for k in (n, m))
    assert fastest_engine(real=real, generated=generated).name


def test_the_same_features_choose_the_same_engine(rng: np.random.Generator) -> None:
    real, generated = low_rank(rng)
    first, second = (fastest_engine(real=real, generated=generated).name for _ in range(2))
    assert first == second


def test_few_lower_bounds_survive_in_features_near_a_subspace(rng: np.random.Generator) -> None:
    """No fewer than the nearest themselves, though, which are the k asked for and the query."""
    few = choose_engine.candidates_left(np.concatenate(low_rank(rng)), 3)
    many = choose_engine.candidates_left(np.concatenate(isotropic(rng)), 3)
    assert few.keys() == many.keys() == set(choose_engine.DIMENSIONS)
    for dimensions in few:
        assert 3 <= few[dimensions] < 6
        assert many[dimensions] > 20


def test_more_rows_or_candidates_or_dimensions_never_cost_less() -> None:
    cost = choose_engine.estimate_passes(10_000, 2048, 64, 10)
    assert choose_engine.estimate_passes(10_000, 2048, 64, 20) > cost
    assert choose_engine.estimate_passes(10_000, 2048, 128, 10) > cost
    assert (
        choose_engine.estimate_passes(100_000, 2048, 64, 10) < cost
    )  # a row; the candidates grow more slowly


@pytest.mark.parametrize(
    "made",
    [FlatSearch(), LowerBoundSearch(64), LowerBoundSearch(), TileSearch(), ExactSearch()],
    ids=lambda made: made.name,
)
def test_an_engine_is_made_again_from_its_name(made) -> None:
    again = make_engine(made.name)
    assert type(again) is type(made)
    assert again.name == made.name


def test_every_engine_has_a_name() -> None:
    for name in ENGINES:
        assert make_engine(name).name.startswith(name)
