"""Conventions: each program's number is that program's, and rounding to float16 is a law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

import raymetrics as rm
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.in_memory.manifolds import survey_features
from raymetrics.metrics import (
    CONVENTIONS,
    PROTOCOLS,
    Convention,
    Protocol,
    get_convention,
    get_protocol,
)
from raymetrics.metrics.conventions import effective_float16_radii
from raymetrics.metrics.registry import find_metric
from raymetrics.metrics.survey_needs import SurveyNeeds

Sides = dict[str, np.ndarray]


@pytest.fixture
def lattice(rng: np.random.Generator) -> Sides:
    """Whole numbers: the products by which peers find distances are exact, so every tie is one
    for them too. With duplicates on either side, and copies of real rows among the generated."""
    real = rng.integers(0, 6, size=(120, 5)).astype(np.float32)
    real[:12] = real[12:24]
    spread = rng.integers(-1, 5, size=(70, 5)).astype(np.float32)
    return {"real": real, "generated": np.concatenate([spread, real[:25], spread[:5]])}


def official(queries: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    """Kynkaanniemi et al.'s program: squared distances by norms and products, the k-th neighbour
    when the point itself is the 0-th, and `<=`."""
    queries, features = queries.astype(np.float64), features.astype(np.float64)

    def squared(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        norms = (u**2).sum(axis=1)[:, None] + (v**2).sum(axis=1)
        return np.maximum(norms - 2 * u @ v.T, 0)

    radii = np.partition(squared(features, features), range(k + 1), axis=1)[:, k]
    return (squared(queries, features) <= radii).any(axis=1)


def held_in_half(
    queries: np.ndarray, features: np.ndarray, k: int, ball: str, *, half: bool
) -> np.ndarray:
    """Which balls hold which queries, bool [n, m], with features, distances and radii rounded to
    float16 if asked."""

    def rounded(a: np.ndarray) -> np.ndarray:
        return a.astype(np.float16).astype(np.float64) if half else a.astype(np.float64)

    q, x = rounded(queries), rounded(features)
    among = np.sqrt(((x[:, None] - x) ** 2).sum(axis=2))
    # Without the diagonal, whatever else is at distance 0.
    others = among[~np.eye(len(x), dtype=bool)].reshape(len(x), -1)
    radii = rounded(np.sort(others, axis=1)[:, k - 1])
    apart = rounded(np.sqrt(((q[:, None] - x) ** 2).sum(axis=2)))
    return apart <= radii if ball == "closed" else apart < radii


@pytest.mark.parametrize("k", [1, 3, 5])
def test_open_balls_are_those_of_prdc(lattice: Sides, k: int) -> None:
    theirs = compute_prdc(lattice["real"], lattice["generated"], nearest_k=k)
    ours = rm.prdc(**lattice, k=k, convention="prdc")[k]
    assert {name: getattr(ours, name) for name in theirs} == pytest.approx(theirs, rel=1e-12)
    closed = rm.prdc(**lattice, k=k)[k]
    assert closed.precision > ours.precision
    assert closed.density > ours.density


@pytest.mark.parametrize("k", [1, 3])
def test_closed_balls_are_those_of_torch_fidelity(lattice: Sides, k: int) -> None:
    theirs = prc_features_to_metric(
        torch.from_numpy(lattice["generated"]),
        torch.from_numpy(lattice["real"]),
        prc_neighborhood=k,
        prc_batch_size=64,
        save_cpu_ram=False,
        verbose=False,
    )
    ours = rm.prdc(**lattice, k=k, convention="torch-fidelity")[k]
    for name, value in theirs.items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-7)  # theirs is float32


@pytest.mark.parametrize("k", [1, 3])
def test_the_official_program(lattice: Sides, rng: np.random.Generator, k: int) -> None:
    apart = {side: rng.normal(size=(90, 6)).astype(np.float32) for side in lattice}
    for sides in (lattice, apart):
        real, generated = sides["real"], sides["generated"]
        ours = rm.precision_recall(**sides, k=k, convention="official")
        precision = official(generated, real, k).mean()
        recall = official(real, generated, k).mean()
        assert ours == (precision, recall)


@pytest.mark.parametrize("ball", ["closed", "open"])
@pytest.mark.parametrize("dimension", [6, 200])
def test_float16(rng: np.random.Generator, ball: Any, dimension: int) -> None:
    real, generated = (
        rng.uniform(1, 10, size=(n, dimension)).astype(np.float32) for n in (150, 130)
    )
    generated[:40] = real[:40]
    generated[40:60] += 0.003  # less than float16 resolves there
    real[140:] = real[:10]
    asked = Convention(k=3, ball=ball, distances="float16")
    needs = SurveyNeeds.of_convention(count=True)
    found = survey_features(real, generated, asked, needs)
    held = held_in_half(generated, real, 3, ball, half=True)
    np.testing.assert_array_equal(found.generated_in_real.hits[:, 0], held.sum(axis=1))
    np.testing.assert_array_equal(found.generated_in_real.occupancy[:, 0], held.sum(axis=0))
    of_real = held_in_half(real, generated, 3, ball, half=True).any(axis=1)
    np.testing.assert_array_equal(found.real_in_generated.hits[:, 0] > 0, of_real)
    # Otherwise nothing that is rounded would be seen here.
    assert (held != held_in_half(generated, real, 3, ball, half=False)).any()


def test_what_does_not_fit_into_float16_is_an_error_not_a_number(rng: np.random.Generator) -> None:
    real = rng.normal(size=(20, 4))
    far = real.copy()
    far[3:5, 1] = -70000
    with pytest.raises(ShardError, match="2 of 20 rows.*65504.*float16.*nvidia"):
        rm.precision_recall(real=real, generated=far, convention="nvidia")


HALVES = st.integers(0, 0x7BFF).map(lambda bits: float(np.uint16(bits).view(np.float16)))
HALF_WAY = st.integers(0, 0x7BFE).map(
    lambda bits: float(np.array([bits, bits + 1], np.uint16).view(np.float16).astype(float).mean())
)
AROUND = st.tuples(HALF_WAY, st.sampled_from([-np.inf, np.inf])).map(
    lambda pair: np.nextafter(*pair)
)
DISTANCES = st.one_of(HALVES, HALF_WAY, AROUND, st.floats(0, 20), st.floats(0, 70000)).map(float)


def halved(x: float) -> np.float16:
    with np.errstate(over="ignore"):
        return np.float64(x).astype(np.float16)


@settings(deadline=None)
@given(distance=DISTANCES, radius=DISTANCES)
@example(distance=66000.0, radius=65504.0)
@example(distance=65520.0, radius=65504.0)
@example(distance=65519.0, radius=65519.0)
@example(distance=0.0, radius=0.0)
@example(distance=2.0**-25, radius=0.0)
@example(distance=2.0**-25, radius=2.0**-24)
def test_reach_of_float16(distance: float, radius: float) -> None:
    closed, opened = (
        effective_float16_radii(np.array([[radius]]), ball).item() for ball in ("closed", "open")
    )
    assert (distance <= closed) == (halved(distance) <= halved(radius))
    assert (distance <= opened) == (halved(distance) < halved(radius))


@settings(deadline=None)
@given(radius=HALF_WAY, direction=st.sampled_from([-np.inf, 0.0, np.inf]))
def test_reach_of_float16_at_its_own_border(radius: float, direction: float) -> None:
    """Where a random distance would never be."""
    for ball in ("closed", "open"):
        border = effective_float16_radii(np.array([radius]), ball).item()
        distance = np.nextafter(border, direction) if direction else border
        if distance >= 0:
            inside = halved(distance) <= halved(radius)
            if ball == "open":
                inside = halved(distance) < halved(radius)
            assert (distance <= border) == inside


@settings(deadline=None)
@given(distance=DISTANCES, radius=DISTANCES)
@example(distance=1.0, radius=1.0)
@example(distance=0.0, radius=0.0)
def test_reach_of_open_balls(distance: float, radius: float) -> None:
    (reach,) = Convention(ball="open").effective_radii(np.array([radius]))
    assert (distance <= reach) == (distance < radius)


def test_any_way_to_say_k() -> None:
    assert Convention(k=3).ks == (3,)
    assert Convention(k=np.int64(3)).ks == (3,)
    assert Convention(k=(5, 3, 5)).ks == Convention(k=[3, 5]).ks == (3, 5)
    assert hash(Convention(k=[3, 5])) == hash(Convention(k=(3, 5)))  # parts of sets are keys


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k is 0, expected at least 1"),
        ({"k": ()}, r"k is \(\), expected at least 1"),
        ({"k": (3, 0)}, r"k is \(3, 0\), expected at least 1"),
        ({"k": 2.5}, "k is 2.5, expected whole numbers"),
        ({"k": "3"}, "k is '3', expected whole numbers"),
        ({"kid_subsets": 0}, "kid_subsets is 0, expected at least 1"),
        ({"kid_subset_size": 1}, "kid_subset_size is 1, expected at least 2"),
        ({"is_splits": 0}, "is_splits is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected a number from 0 to 4294957295"),
        ({"ball": "round"}, "ball is 'round'; there are closed, open"),
        ({"distances": "float32"}, "distances is 'float32'; there are float64, float16"),
        ({"kid_order": "x"}, "kid_order is 'x'; there are real-first, generated-first"),
        ({"kid_generator": "x"}, "kid_generator is 'x'; there are pcg64, mt19937"),
    ],
)
def test_bad_values_are_errors(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        Convention(**change)
    with pytest.raises(RaymetricsError, match=message):
        get_convention("prdc", **change)


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(RaymetricsError, match="no convention 'x'; there are raymetrics, official"):
        get_convention("x")
    with pytest.raises(RaymetricsError, match="no protocol 'x'; there are fid50k_full, kid50k"):
        get_protocol("x")
    assert all(get_convention(name).name == name for name in CONVENTIONS)
    assert all(get_protocol(name).name == name for name in PROTOCOLS)


def test_some_choices_changed() -> None:
    changed = get_convention("prdc", k=3, seed=None)
    assert (changed.k, changed.ball, changed.seed, changed.name) == (3, "open", 0, "prdc")
    assert CONVENTIONS["prdc"].k == 5


def test_every_protocol_can_be_followed() -> None:
    for followed in PROTOCOLS.values():
        assert followed.convention == CONVENTIONS[followed.convention.name]
        assert [find_metric(name).text for name in followed.metrics] == [*followed.metrics]
        counts = followed.counts(real=2_000_000, generated=2_000_000)
        assert counts[1] == (followed.generated or 2_000_000)
        assert counts[0] == (followed.real or followed.real_at_most or 2_000_000)


def test_counts_of_a_protocol() -> None:
    few = Protocol("few", ("fid",), Convention(), generated=50, real=40)
    assert few.counts(real=60, generated=60) == (40, 50)
    with pytest.raises(NotEnoughData, match="few takes 40 real samples, there are 39; extract"):
        few.counts(real=39, generated=60)
    with pytest.raises(NotEnoughData, match="few takes 50 generated samples, there are 49"):
        few.counts(real=60, generated=49)
    full = Protocol("full", ("fid",), Convention(), generated=50, real_at_most=45)
    assert full.counts(real=30, generated=60) == (30, 50)
    assert full.counts(real=60, generated=50) == (45, 50)
    with pytest.raises(NotEnoughData, match="full takes 1 real samples, there are 0"):
        full.counts(real=0, generated=60)
