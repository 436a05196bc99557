"""Weights of two arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raymetrics.attacks import draw_by_weight, reweight
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.metrics import frechet_distance
from raymetrics.metrics.frechet import Gaussian
from raymetrics.statistics import Moments
from tests.helpers.oracles import weighted_frechet_distance


@pytest.fixture
def sets(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Logits, of which those of the generated side are of other classes, and wider."""
    spectrum = np.arange(1, 13) ** -0.5
    real = rng.normal(size=(200, 12)) * spectrum
    generated = rng.normal(size=(1000, 12)) * spectrum * 1.2 + np.linspace(-0.3, 0.3, 12)
    return {"real": real.astype(np.float32), "generated": generated.astype(np.float32)}


def weighted_distance(real: np.ndarray, generated: np.ndarray, weights: np.ndarray) -> float:
    """By numpy and the metric."""
    of_generated = Gaussian(
        np.average(generated.astype(np.float64), axis=0, weights=weights),
        np.cov(generated.T.astype(np.float64), aweights=weights, ddof=0),
    )
    return frechet_distance(real=Moments.from_samples(real), generated=of_generated)


def test_the_distance_is_that_of_the_weighted_moments(sets: dict[str, np.ndarray]) -> None:
    found = reweight(**sets)
    assert found.weights.shape == (1000,)
    assert found.weights.dtype == np.float64
    assert found.weights.sum() == pytest.approx(1)
    power = np.trace(np.cov(sets["real"].T))
    for weights, distance in (
        (found.weights, found.distance),
        (np.ones(1000), found.trace[0].distance),
    ):
        expected = weighted_distance(**sets, weights=weights)
        assert distance == pytest.approx(expected, rel=1e-6, abs=1e-7 * power)
    assert found.distance < 0.1 * found.trace[0].distance
    assert found.effective_sample_size == pytest.approx(1 / (found.weights**2).sum())
    assert found.gap >= 0


@pytest.mark.parametrize("optimizer", ["lbfgs", "gd"])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e7, 1e9])
@pytest.mark.parametrize(
    ("candidates", "dimension"), [(300, 12), (40, 64)], ids=["more candidates", "more dimensions"]
)
def test_the_distance_is_that_of_the_weights_whatever_the_mean(
    rng: np.random.Generator, candidates: int, dimension: int, offset: float, optimizer: str
) -> None:
    """Features of float64 that float32 would round to a few values."""
    real = rng.normal(size=(100, dimension)) + offset
    generated = rng.normal(0.2, 1.3, size=(candidates, dimension)) + offset
    found = reweight(real=real, generated=generated, optimizer=optimizer, max_evaluations=15)
    expected = weighted_frechet_distance(real, generated, found.weights)
    assert found.distance == pytest.approx(expected, rel=1e-6, abs=1e-8 * dimension)


def test_the_way_to_the_weights_does_not_depend_on_the_mean(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(100, 12)), rng.normal(0.2, 1.3, size=(300, 12))
    near, far = (reweight(real=real + offset, generated=generated + offset) for offset in (0, 1e9))
    assert far.distance == pytest.approx(near.distance, rel=1e-3)
    assert far.distance < 0.1 * far.trace[0].distance


@pytest.mark.parametrize("optimizer", ["lbfgs", "gd"])
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e20, 1e37])
def test_the_scale_of_features_makes_no_difference(
    sets: dict[str, np.ndarray], scale: float, optimizer: str
) -> None:
    """Also where squares are beyond float32."""
    scale = 2.0 ** round(np.log2(scale))  # rounds nothing
    plain, scaled = (
        reweight(**{side: x.astype(np.float64) * factor for side, x in sets.items()},
                 optimizer=optimizer, max_evaluations=15, learning_rate=10 / factor**2)
        for factor in (1.0, scale)
    )  # fmt: skip
    np.testing.assert_allclose(scaled.weights, plain.weights, rtol=1e-3)
    assert scaled.distance == pytest.approx(plain.distance * scale**2, rel=1e-3)


def test_weights_that_match_perfectly_have_no_negative_distance(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 4))
    assert 0 <= reweight(real=x, generated=np.concatenate([x, x]), ddof=0).distance < 1e-9


@pytest.mark.parametrize("scheme", ["systematic", "multinomial"])
def test_samples_drawn_by_the_weights_are_nearer(sets: dict[str, np.ndarray], scheme: str) -> None:
    real, generated = sets["real"], sets["generated"]
    weights = reweight(**sets).weights
    mean = [
        np.mean(
            [
                frechet_distance(
                    real=Moments.from_samples(real),
                    generated=Moments.from_samples(generated[draw_by_weight(w, 200, i, scheme)]),
                )
                for i in range(10)
            ]
        )
        for w in (np.ones(1000), weights)
    ]
    assert mean[1] < 0.7 * mean[0]


@pytest.mark.parametrize("match", ["logits", "probabilities", "top_n:3", "middle_n:3"])
def test_every_match(sets: dict[str, np.ndarray], match: str) -> None:
    found = reweight(**sets, match=match)
    assert found.distance < 0.5 * found.trace[0].distance


def test_descent_takes_the_paper_s_rate(sets: dict[str, np.ndarray]) -> None:
    def descended(**options: Any) -> float:
        return reweight(**sets, optimizer="gd", max_evaluations=20, **options).distance

    assert descended() == descended(learning_rate=10.0)
    assert descended(match="logits") == descended(learning_rate=5.0) > descended()
    assert descended() > reweight(**sets, max_evaluations=20).distance


def test_the_same_again(sets: dict[str, np.ndarray]) -> None:
    a, b = reweight(**sets), reweight(**sets)
    np.testing.assert_array_equal(a.weights, b.weights)
    assert a.trace == b.trace


def test_what_is_given_stays_as_it_is(sets: dict[str, np.ndarray]) -> None:
    before = {side: x.copy() for side, x in sets.items()}
    reweight(**sets, max_evaluations=3)
    for side, x in sets.items():
        np.testing.assert_array_equal(x, before[side])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"real": np.ones((1, 12))}, NotEnoughData, "1 real samples.*at least 2"),
        ({"generated": np.ones((0, 12))}, NotEnoughData, "no candidates"),
        ({"generated": np.ones((5, 3))}, ShardError, "12 dimensions, generated ones 3"),
        ({"real": np.ones(12)}, ShardError, r"real features have shape \[12\]"),
        ({"max_evaluations": 0}, NotEnoughData, "max_evaluations is 0"),
        ({"optimizer": "adam"}, RaymetricsError, "'adam'.*lbfgs, gd"),
        ({"match": "top_n"}, RaymetricsError, "'top_n'.*top_n:N"),
        ({"match": "top_n:7"}, ShardError, "more than half of 12 classes"),
        ({"generated": np.full((5, 12), 1e200)}, ShardError, "lie 1e.200 apart, whose square"),
        ({"generated": np.eye(12) * 1.7e308}, ShardError, "apart, whose square"),
    ],
)
def test_bad_requests(
    sets: dict[str, np.ndarray], changes: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        reweight(**{**sets, **changes})


@pytest.mark.parametrize("side", ["real", "generated"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite(sets: dict[str, np.ndarray], side: str, value: float) -> None:
    sets[side][17, 3] = value
    with pytest.raises(ShardError, match=rf"{side} features hold NaN .* 1 of .* \(17\)"):
        reweight(**sets)


def test_a_systematic_draw_looks_stronger(rng: np.random.Generator) -> None:
    """The same weights of a mixture; the noise of the draw is most of what is left."""
    centers = rng.normal(size=(20, 24))
    proportions = {"real": np.ones(20) / 20, "generated": rng.dirichlet(np.ones(20))}
    sides = {
        side: centers[rng.choice(20, count, p=proportions[side])] + rng.normal(size=(count, 24))
        for side, count in (("real", 800), ("generated", 4000))
    }
    weights = reweight(**sides).weights
    real = Moments.from_samples(sides["real"])

    def drawn(scheme: str, seed: int) -> float:
        ids = draw_by_weight(weights, 800, seed, scheme)
        return frechet_distance(real=real, generated=Moments.from_samples(sides["generated"][ids]))

    multinomial, systematic = (
        np.mean([drawn(scheme, seed) for seed in range(4)])
        for scheme in ("multinomial", "systematic")
    )
    assert 1.6 < multinomial / systematic < 3


def test_the_covariance_of_the_program(sets: dict[str, np.ndarray]) -> None:
    """Divided by the sum of weights less 1: of equal weights that is the metric's own ddof."""
    descent: Any = {**sets, "optimizer": "gd", "max_evaluations": 3}
    moments = {side: Moments.from_samples(features) for side, features in sets.items()}
    program = reweight(**descent, covariance="program")
    assert program.trace[0].distance == pytest.approx(frechet_distance(**moments), rel=1e-5)
    paper = reweight(**descent)
    assert 0 < abs(program.distance - paper.distance) < 1e-2 * paper.distance
    with pytest.raises(RaymetricsError, match="no covariance 'any'; there are paper, program"):
        reweight(**sets, covariance="any")
    with pytest.raises(RaymetricsError, match="only gradient descent keeps; ask for the optimizer"):
        reweight(**sets, covariance="program")
    with pytest.raises(NotEnoughData, match="1 candidates to weigh; give at least 2"):
        reweight(**{**descent, "generated": sets["generated"][:1]}, covariance="program")
