"""Errors of samples and of groups: closed forms, derivatives, and coverage by simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import sqrtm
from scipy.special import softmax

from raymetrics import in_memory
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.in_memory.intervals import values_with_errors
from raymetrics.metrics import Convention, Norm
from raymetrics.metrics.influences import frechet_influences
from raymetrics.metrics.metric import Metric, MetricValue, needs_of_both_sides
from raymetrics.metrics.registry import METRICS, find_metric
from raymetrics.metrics.required_statistics import FeatureMoments
from raymetrics.metrics.sampling_errors import (
    GROUP_COUNT,
    SamplingErrors,
    StandardError,
    make_interval,
    samples_for_half_width,
)
from raymetrics.statistics import GroupedStatistics, Moments, assign_groups

WITH_INTERVALS = [name for name, metric in METRICS.items() if metric.interval]
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(60, 4)), RNG.normal(0.4, 1.3, size=(50, 4))
Weights = np.ndarray


def errors_of(values: np.ndarray, first_id: int = 0) -> SamplingErrors:
    return SamplingErrors.from_influences(np.arange(first_id, first_id + len(values)), values)


def test_the_errors_of_a_mean_are_those_of_textbooks() -> None:
    values = X[:, 0]
    assert errors_of(values).variance == pytest.approx(values.var(ddof=1) / 60)
    interval = make_interval(values.mean(), {"real": errors_of(values)})
    expected = stats.t.interval(0.95, 59, values.mean(), stats.sem(values))
    assert interval
    assert (interval.low, interval.high) == pytest.approx(expected)


def test_differences_of_means_are_tested_as_in_textbooks() -> None:
    a, b = X[:40, 0], X[:40, 0] + 0.1 * Y[:40, 1] + 0.02
    paired = StandardError.from_errors(errors_of(a).subtract(errors_of(b)))
    assert paired.p_value(a.mean() - b.mean()) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    independent = StandardError.from_errors(errors_of(a).subtract(errors_of(b[:30], 100)))
    welch = stats.ttest_ind(a, b[:30], equal_var=False).pvalue
    assert independent.p_value(a.mean() - b[:30].mean()) == pytest.approx(welch)
    assert errors_of(a).subtract(errors_of(b, 100))[1:]


def test_intervals_end_at_bounds_and_need_an_error() -> None:
    errors = {"real": errors_of(np.array([0.0, 1.0, 2.0, 5.0]))}
    interval = make_interval(0.5, errors, (0.0, 1.0))
    assert interval
    assert (interval.low, interval.high) == (0.0, 1.0)
    assert make_interval(1.0, {"real": errors_of(np.ones(4))}) is None
    assert make_interval(1.0, {}) is None


def test_a_sample_that_was_drawn_twice_is_one_part() -> None:
    twice = SamplingErrors.from_influences(np.array([4, 4, 7]), np.array([1.0, 1.0, 4.0]))
    assert len(twice.parts) == 2
    assert twice.parts.sum() == pytest.approx(0)


def test_samples_for_a_width() -> None:
    """Four times as many for half of the width; more where the real side takes a part of it."""
    assert samples_for_half_width(0.5, 1.0, 0.0, 100) == 400
    assert samples_for_half_width(0.5, 1.0, 0.3, 100) == np.ceil(100 * 0.91 / 0.16)
    assert samples_for_half_width(0.3, 1.0, 0.3, 100) is None


# Numbers of weighted samples, in a few lines each.
def frechet(x: Weights, y: Weights) -> float:
    means = [w @ rows for w, rows in ((x, X), (y, Y))]
    covariances = [
        (rows - m).T @ ((rows - m) * w[:, None])
        for (w, rows), m in zip(((x, X), (y, Y)), means, strict=True)
    ]
    root = np.real(sqrtm(covariances[0] @ covariances[1]))
    shift = means[0] - means[1]
    return float(shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root))


def probability_distance(x: Weights, y: Weights) -> float:
    """Without the direction in which probabilities, which add up to 1, never vary."""
    varying = np.linalg.svd(np.ones((1, 4)))[2][1:].T
    sides = [softmax(rows, axis=1) @ varying for rows in (X, Y)]
    means = [w @ rows for w, rows in zip((x, y), sides, strict=True)]
    apart = [rows - m for rows, m in zip(sides, means, strict=True)]
    a, b = (z.T @ (z * w[:, None]) for z, w in zip(apart, (x, y), strict=True))
    shift = means[0] - means[1]
    return float(shift @ shift + np.trace(a + b - 2 * np.real(sqrtm(a @ b))))


def top1(x: Weights, y: Weights) -> float:
    shares = [np.bincount(rows.argmax(1), w, 4) for w, rows in ((x, X), (y, Y))]
    return float(abs(shares[0] - shares[1]).sum() / 2)


def inception(x: Weights, y: Weights) -> float:
    p = softmax(Y, axis=1)
    return float(np.exp((y[:, None] * p * np.log(p / (y @ p))).sum()))


def vendi(x: Weights, y: Weights) -> float:
    z = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(z.T @ (z * y[:, None]))
    return float(np.exp(-(values * np.log(values)).sum()))


def renyi(x: Weights, y: Weights, order: float) -> float:
    z = Y / np.linalg.norm(Y, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(z.T @ (z * y[:, None]))
    return float((values**order).sum() ** (1 / (1 - order)))


def cmmd(x: Weights, y: Weights) -> float:
    w = np.concatenate([x, -y])
    z = np.concatenate([X, Y])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return float(1000 * w @ np.exp((z @ z.T - 1) / 100) @ w)


ORACLES: dict[str, Callable[[Weights, Weights], float]] = {
    "fid": frechet,
    "fid-probabilities": probability_distance,
    "top1": top1,
    "is": inception,
    "vendi": vendi,
    "vendi?order=2": partial(renyi, order=2),
    "vendi?order=0.5": partial(renyi, order=0.5),
    "rke": partial(renyi, order=2),
    "cmmd": cmmd,
}


@pytest.mark.parametrize("name", ORACLES)
def test_an_influence_is_a_derivative(name: str) -> None:
    """By the weight of a sample, on the empirical distribution: the definition of influence."""
    number = ORACLES[name]
    convention = Convention(ddof=0, is_splits=1)
    (value,) = values_with_errors(find_metric(name), {"real": X, "generated": Y}, convention)
    weights = [np.full(60, 1 / 60), np.full(50, 1 / 50)]
    assert number(*weights) == pytest.approx(value.value, rel=1e-6)
    for side, part in value.errors.items():
        place = ("real", "generated").index(side)
        slopes = np.array([slope(number, weights, place, i) for i in range(len(weights[place]))])
        count = len(slopes)
        expected = (slopes - slopes.mean()) / np.sqrt(count * (count - 1))
        assert abs(part.parts - expected).max() < 1e-5 * abs(expected).max()


def slope(
    number: Callable[[Weights, Weights], float], weights: list[Weights], side: int, sample: int
) -> float:
    """The derivative towards a distribution of one sample, by central differences."""
    step = 1e-5
    towards = -weights[side].copy()
    towards[sample] += 1
    moved = []
    for sign in (1, -1):
        changed = list(weights)
        changed[side] = weights[side] + sign * step * towards
        moved.append(number(*changed))
    return (moved[0] - moved[1]) / (2 * step)


def test_influences_on_the_frechet_distance_foretell_deleted_groups() -> None:
    """Also where a feature never varies, so that no covariance has an inverse."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2000, 6)), rng.normal(0.2, 1.1, size=(2000, 6))
    x[:, 5] = y[:, 5] = 0
    real, generated = Moments.from_samples(x), Moments.from_samples(y)
    influences = frechet_influences(real=real, generated=generated)
    groups = assign_groups(np.arange(2000), GROUP_COUNT)
    predicted = influences["generated"](np.arange(2000), y)
    predicted = predicted - predicted.mean()
    whole = in_memory.frechet_distance(real=x, generated=y)
    without = [in_memory.frechet_distance(real=x, generated=y[groups != g]) for g in range(20)]
    foretold = [-predicted[groups == g].sum() / 1900 for g in range(20)]
    assert np.corrcoef(foretold, np.array(without) - whole)[0, 1] > 0.99
    assert np.std(foretold) == pytest.approx(np.std(without), rel=0.05)


def test_influences_on_the_kernel_distance_are_those_of_all_pairs() -> None:
    """With subsets of all samples; the kernel means of a sample are computed by a loop."""
    x = np.random.default_rng(0).normal(size=(50, 3))
    y = Y[:, :3]
    convention = Convention(kid_subsets=2, kid_subset_size=50)
    (value,) = values_with_errors(METRICS["kid"], {"real": x, "generated": y}, convention)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    expected = np.array([
        2 * np.mean([kernel(a, b) for j, b in enumerate(y) if j != i])
        - 2 * np.mean([kernel(a, b) for b in x])
        for i, a in enumerate(y)
    ])  # fmt: skip
    expected = (expected - expected.mean()) / np.sqrt(50 * 49)
    np.testing.assert_allclose(value.errors["generated"].parts, expected, rtol=1e-9, atol=1e-12)


def test_the_errors_of_groups_are_those_of_means_of_groups() -> None:
    """A metric of its own, whose formula is a mean: the variance of means of groups."""
    metric = Metric(
        "mean-apart",
        "difference of means",
        compute=lambda real, generated, samples, convention: [
            MetricValue("apart", "", generated["m"].mean[0] - real["m"].mean[0], "lower", {})
        ],
        needs=needs_of_both_sides("m", FeatureMoments()),
        interval="groups",
    )
    (value,) = values_with_errors(metric, {"real": X, "generated": Y[:40]})
    groups = assign_groups(np.arange(60), GROUP_COUNT)
    means = np.array([X[groups == g, 0].mean() for g in range(GROUP_COUNT)])
    assert value.errors["real"].variance == pytest.approx(means.var(ddof=1) / GROUP_COUNT)
    assert value.value == pytest.approx(Y[:40, 0].mean() - X[:, 0].mean())


def test_groups_are_alike_for_ids_of_any_order_and_class() -> None:
    """Ids of every tenth sample, and ids in a row, are in all groups; order has no meaning."""
    ids = np.arange(10_000)
    groups = assign_groups(ids, 20)
    assert set(np.bincount(groups)) == {500}
    for some in (groups[::10], groups[:1000]):
        assert np.bincount(some, minlength=20).min() > 25
    order = np.random.default_rng(0).permutation(10_000)
    np.testing.assert_array_equal(assign_groups(ids[order], 20), groups[order])


def test_statistics_without_each_group() -> None:
    ids = np.arange(60)
    groups = assign_groups(ids, 7)
    blocks = [slice(0, 11), slice(11, 12), slice(12, 60)]
    merged = GroupedStatistics.empty()
    for rows in blocks:
        block = GroupedStatistics.from_samples(ids[rows], X[rows], groups[rows], FeatureMoments())
        merged = merged.merge(block)
    for g, left in enumerate(merged.without_each()):
        expected = Moments.from_samples(X[groups != g])
        assert left.count == expected.count
        np.testing.assert_allclose(left.scatter, expected.scatter, rtol=1e-12)
    np.testing.assert_allclose(merged.total.mean, X.mean(0), rtol=1e-12)


# Of balls one is enough; the others take more than features, or one column.
_APART = ("dc", "symmetric-pr", "fdr", "score", "clipscore", "aesthetic")


@pytest.mark.parametrize("name", [name for name in WITH_INTERVALS if name not in _APART])
def test_every_metric_that_says_so_has_intervals(name: str) -> None:
    sides = {"real": X.astype(np.float32), "generated": Y.astype(np.float32)}
    convention = Convention(kid_subset_size=40, kid_subsets=3)
    for value in values_with_errors(METRICS[name], sides, convention):
        interval = make_interval(value.value, value.errors, value.bounds)
        assert interval, value.metric
        assert value.bounds[0] <= interval.low <= value.value <= interval.high <= value.bounds[1]


def test_the_error_of_a_mean_score_is_its_standard_error() -> None:
    sides = {"real": X[:, :1] / 10, "generated": Y[:, :1] / 10}
    for name in ("score", "clipscore?scaling=hessel"):
        (value,) = values_with_errors(find_metric(name), sides)
        assert value.errors["generated"].variance ** 0.5 == pytest.approx(value.spread)
        assert set(value.errors) == {"generated"}


def test_the_error_of_a_ratio_is_that_of_the_distance_over_the_norm() -> None:
    sides = {"real": X, "generated": Y}
    (distance,) = values_with_errors(METRICS["fid"], sides)
    ratio = METRICS["fdr"]
    assert ratio.compute
    bound = replace(ratio, compute=partial(ratio.compute, validation=Norm(2.5)))
    (value,) = values_with_errors(bound, sides)
    np.testing.assert_allclose(
        value.errors["generated"].parts, distance.errors["generated"].parts / 2.5, rtol=1e-12
    )
    assert set(value.errors) == {"generated"}  # the real side is in the norm too


def test_too_few_samples_and_metrics_without_intervals() -> None:
    with pytest.raises(RaymetricsError, match="no intervals of prd"):
        in_memory.intervals("prd", real=X, generated=Y)
    with pytest.raises(NotEnoughData, match="at least 40 samples of each side, there are 39 real"):
        in_memory.intervals("fid", real=X[:39], generated=Y)


def test_intervals_cover() -> None:
    """Of 200 pairs of sets, in how many cases the interval holds the mean: 95 %, give or take 4."""
    deviations = np.arange(1, 9) ** -0.5
    found, rng = [], np.random.default_rng(0)
    for _ in range(200):
        x = (rng.normal(size=(500, 8)) * deviations).astype(np.float32)
        y = ((rng.normal(size=(500, 8)) * 1.1 + 0.2) * deviations).astype(np.float32)
        found.append(in_memory.intervals("fid", real=x, generated=y)["frechet_distance"])
    mean = np.mean([value for value, _ in found])
    covered = [
        interval is not None and interval.low <= mean <= interval.high for _, interval in found
    ]
    low, high = stats.binom.interval(0.99, 200, 0.95)
    assert low <= sum(covered) <= high
