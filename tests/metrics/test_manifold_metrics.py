"""The metrics of manifolds beside precision and recall: oracles, closed forms, laws, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import betabinom

from raymetrics import in_memory
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.evaluator import compute_from_rows
from raymetrics.metrics import Convention, PRDCurve, effective_rank, log_density
from raymetrics.metrics.clipped_density_coverage import clipped_share, expected_coverages
from raymetrics.metrics.precision_recall_curve import curve_of_quotients
from raymetrics.metrics.registry import find_metric
from raymetrics.metrics.survey_needs import BallKind, Reach, SurveyNeeds
from raymetrics.statistics import Moments

Sides = dict[str, np.ndarray]


@pytest.fixture(params=["normal", "copies", "integers", "float32"])
def sides(request: pytest.FixtureRequest, rng: np.random.Generator) -> Sides:
    """Sides of unequal counts; with copies within and across, with ties, and of float32."""
    real, generated = rng.normal(size=(160, 6)), rng.normal(0.4, 0.8, size=(130, 6))
    if request.param == "copies":
        real[:8], generated[:12], generated[12:20] = real[8:16], real[20:32], real[:8]
    if request.param == "integers":
        real, generated = np.round(2 * real), np.round(2 * generated)
    dtype = np.float32 if request.param == "float32" else np.float64
    return {"real": real.astype(dtype), "generated": generated.astype(dtype)}


def distances(sides: Sides) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real to real, generated to generated, and real to generated."""
    x, y = (sides[side].astype(np.float64) for side in ("real", "generated"))
    return cdist(x, x), cdist(y, y), cdist(x, y)


def kth(within: np.ndarray, k: int) -> np.ndarray:
    """The distance to the k-th other sample, whose own distance of 0 comes first."""
    return np.sort(within, axis=1)[:, k]


def value_of(text: str, sides: Sides) -> dict[str, float]:
    found = compute_from_rows(find_metric(text), sides["real"], sides["generated"], Convention())
    return {value.metric: value.value for value in found}


@pytest.mark.parametrize("k", [1, 5])
def test_clipped_density(sides: Sides, k: int) -> None:
    """As its equation says; the real density counts other samples only, and all ties."""
    real, _, across = distances(sides)
    radii = np.minimum(kth(real, k), np.median(kth(real, k)))
    hits = (across <= radii[:, None]).sum(axis=0)
    own = (real <= radii[:, None]).sum(axis=0) - 1
    expected = min(np.minimum(hits / k, 1).mean() / np.minimum(own / k, 1).mean(), 1)
    assert in_memory.clipped_density(**sides, k=k) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 5])
def test_clipped_coverage(sides: Sides, k: int) -> None:
    """The nearest k of the authors' program, each nearer than the radius, and its calibration."""
    real, generated, across = distances(sides)
    nearest = np.sort(across, axis=1)[:, :k]
    coverage = (nearest < kth(real, k)[:, None]).mean()
    n, m = len(real), len(generated)
    good = [betabinom(count, k, n - k) for count in range(m + 1)]
    curve = [
        sum(min(j, k) * good[count].pmf(j) for j in range(count + 1)) / k if count >= k else 0
        for count in range(m + 1)
    ]
    expected = np.searchsorted(curve, coverage) / len(curve)
    assert in_memory.clipped_coverage(**sides, k=k) == pytest.approx(expected, abs=1e-12)


def test_expected_coverages() -> None:
    """Against the distribution itself, at counts where factorials overflow."""
    curve = expected_coverages(real=5000, generated=3000, k=5)
    for count in (5, 40, 3000):
        j = np.arange(count + 1)
        expected = (np.minimum(j, 5) * betabinom(count, 5, 4995).pmf(j)).sum() / 5
        assert curve[count] == pytest.approx(expected, rel=1e-8)
    assert (np.diff(curve) >= 0).all()
    assert curve[:5].tolist() == [0] * 5


def test_clipped_metrics_are_shares_of_good_samples(rng: np.random.Generator) -> None:
    """Half of the samples far away take half; one real outlier changes next to nothing."""
    real, good = rng.normal(size=(800, 3)), rng.normal(size=(800, 3))
    bad = np.concatenate([good[:400], good[400:] + 1000])
    assert in_memory.clipped_density(real=real, generated=good) > 0.9
    for metric in (in_memory.clipped_density, in_memory.clipped_coverage):
        assert metric(real=real, generated=bad) == pytest.approx(0.5, abs=0.08)
    outlier = np.concatenate([real[1:], [[500.0, 0, 0]]])
    assert in_memory.clipped_density(real=outlier, generated=bad) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("convention", "k"), [("raymetrics", 3), ("prdc", 5)])
def test_symmetric_precision_recall(sides: Sides, convention: str, k: int) -> None:
    """With the authors' k = 5 and open balls; and closed ones."""
    real, generated, across = distances(sides)
    inside = np.less if convention == "prdc" else np.less_equal
    in_real = inside(across, kth(real, k)[:, None])
    in_generated = inside(across, kth(generated, k)[None])
    precision = min(in_real.any(axis=0).mean(), in_generated.any(axis=0).mean())
    recall = min(in_generated.any(axis=1).mean(), in_real.any(axis=1).mean())
    found = in_memory.symmetric_precision_recall(**sides, convention=convention)
    assert found == (precision, recall)


@pytest.mark.parametrize(("k", "scale"), [(4, 1.2), (9, 3.0)])
def test_probabilistic_precision_recall(sides: Sides, k: int, scale: float) -> None:
    """The rule of the authors' program: 1 - prod(1 - f), f = 1 - d / R below R."""
    real, generated, across = distances(sides)
    expected = []
    for radius, axis in ((kth(real, k), 0), (kth(generated, k), 1)):
        reach = scale * radius.mean()
        outside = np.where(across >= reach, 1, across / reach)
        expected.append(np.mean(1 - outside.prod(axis=axis)))
    found = in_memory.probabilistic_precision_recall(**sides, k=k, scale=scale)
    assert found == pytest.approx(expected, rel=1e-9)


def test_probabilistic_precision_of_far_features(rng: np.random.Generator) -> None:
    """Far from the origin, and near each other: rounding is not felt."""
    real = 1e4 + rng.normal(size=(300, 40))
    generated = np.concatenate([real[:5], real[5:10] + 1e-7, 1e4 + rng.normal(size=(90, 40))])
    real_to_real, _, across = distances({"real": real, "generated": generated})
    reach = 1.2 * kth(real_to_real, 4).mean()
    expected = np.mean(1 - np.where(across >= reach, 1, across / reach).prod(axis=0))
    found = in_memory.probabilistic_precision_recall(real=real, generated=generated)
    assert found.precision == pytest.approx(expected, rel=1e-9)


def test_probabilistic_precision_of_equal_samples() -> None:
    """A reach of 0 holds nothing, as in the authors' program."""
    found = in_memory.probabilistic_precision_recall(
        real=np.ones((9, 2)), generated=np.ones((8, 2))
    )
    assert found == (0, 0)


@pytest.mark.parametrize(("k", "factor"), [(3, 3), (2, 4)])
def test_precision_recall_cover(sides: Sides, k: int, factor: int) -> None:
    real, generated, across = distances(sides)
    precision = ((across <= kth(generated, factor * k)[None]).sum(axis=0) >= k).mean()
    recall = ((across <= kth(real, factor * k)[:, None]).sum(axis=1) >= k).mean()
    assert in_memory.precision_recall_cover(**sides, k=k, factor=factor) == (precision, recall)


def official_curve(sides: Sides, k: int, slopes: np.ndarray, *, itself: bool) -> np.ndarray:
    """The classifiers of the authors' program, with every threshold that tells them apart."""
    union = np.concatenate([sides["real"], sides["generated"]]).astype(np.float64)
    apart = cdist(union, union)
    if not itself:
        np.fill_diagonal(apart, np.inf)
    n = len(sides["real"])
    near = apart <= np.sort(apart, axis=1)[:, k - 1, None]
    of_real, of_generated = near[:, :n].sum(axis=1), near[:, n:].sum(axis=1)
    fractions = {i / j for i in range(k + 40) for j in range(1, k + 40)}
    called_real = [np.zeros(len(union), bool), np.ones(len(union), bool), of_real > 0]
    called_real += [gamma * of_real >= of_generated for gamma in fractions]
    rates = np.array([[1 - c[:n].mean(), c[n:].mean()] for c in called_real])
    return (slopes[:, None] * rates[:, 0] + rates[:, 1]).min(axis=1)


@pytest.mark.parametrize("itself", ["left-out", "counted"])
def test_precision_recall_curve(rng: np.random.Generator, itself: str) -> None:
    sides = {"real": rng.normal(size=(90, 4)), "generated": rng.normal(0.8, 1, size=(70, 4))}
    slopes = np.tan(np.linspace(1e-10, np.pi / 2 - 1e-10, 1001))
    curve = in_memory.precision_recall_curve(**sides, k=7, itself=itself)
    expected = official_curve(sides, 7, slopes, itself=itself == "counted")
    np.testing.assert_allclose(curve.precision, expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(curve.recall, expected / slopes, rtol=1e-9, atol=1e-14)


def test_curves_of_equal_and_of_apart_sides(rng: np.random.Generator) -> None:
    """Equal sides reach (1, 1), sides far apart nothing; by default k is the root of the count."""
    x = rng.normal(size=(100, 3))
    equal = in_memory.precision_recall_curve(real=x, generated=x)
    np.testing.assert_allclose(np.maximum(equal.precision, equal.recall), 1, rtol=1e-9)
    apart = in_memory.precision_recall_curve(real=x, generated=x + 100)
    assert apart.precision.max() == apart.recall.max() == pytest.approx(0, abs=1e-9)
    ten = in_memory.precision_recall_curve(real=x, generated=x + 1, k=10)
    default = in_memory.precision_recall_curve(real=x, generated=x + 1)
    np.testing.assert_array_equal(ten.precision, default.precision)


def test_curve_of_known_quotients() -> None:
    """One threshold tells all but a quarter of the real ones apart."""
    curve = curve_of_quotients(np.array([0, 0, 0, np.inf]), np.array([np.inf] * 4))
    middle = len(curve.precision) // 2  # slope 1
    assert isinstance(curve, PRDCurve)
    assert curve.precision[middle] == pytest.approx(0.25)
    assert curve.recall[middle] == pytest.approx(0.25)
    assert curve.recall[0] == pytest.approx(0.25)
    assert curve.precision[-1] == pytest.approx(1.0)


def test_geometry(sides: Sides) -> None:
    found = value_of("geometry?k=5", sides)
    x = sides["real"].astype(np.float64)
    shares = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    shares /= shares.sum()
    assert found["effective_rank"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    radii = kth(distances(sides)[0], 5)
    if (radii > 0).all():
        assert found["log_density"] == pytest.approx(-np.log(radii).mean(), rel=1e-9)


def test_geometry_of_known_sets() -> None:
    """A cross of d axes has rank d; a plane in 9 dimensions 2; copies have no finite density."""
    cross = np.concatenate([np.eye(4), -np.eye(4)])
    assert effective_rank(Moments.from_samples(cross)) == pytest.approx(4)
    plane = np.column_stack([cross[:, :2], np.zeros((8, 7))])
    assert effective_rank(Moments.from_samples(plane)) == pytest.approx(2)
    assert log_density(np.exp([-1.0, -3.0])) == pytest.approx(2)
    copies = {"real": np.tile(cross, (3, 1)), "generated": cross}
    assert set(value_of("geometry?k=2", copies)) == {"effective_rank"}
    with pytest.raises(NotEnoughData, match="effective rank of 3 equal samples"):
        effective_rank(Moments.from_samples(np.ones((3, 2))))


METRICS = ("clipped", "symmetric-pr", "probabilistic-pr", "pr-cover", "pr-curve", "geometry?k=9")


@given(seed=st.integers(0, 2**32 - 1), text=st.sampled_from(METRICS))
@settings(deadline=None, max_examples=12)
def test_the_order_of_samples_changes_nothing(seed: int, text: str) -> None:
    rng = np.random.default_rng(seed)
    sides = {"real": rng.integers(0, 9, (40, 3)) / 4, "generated": rng.integers(0, 9, (30, 3)) / 4}
    permuted = {side: rng.permutation(features) for side, features in sides.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert value_of(text, permuted) == pytest.approx(value_of(text, sides), rel=1e-12)


def test_one_survey_serves_all(rng: np.random.Generator) -> None:
    """What is joined holds what each needs, and changes no radius of the convention."""
    clipped = find_metric("clipped").survey
    cover = find_metric("pr-cover").survey
    assert clipped is not None
    assert cover is not None
    needs = SurveyNeeds.of_convention() | clipped(None, Convention()) | cover(None, Convention())
    kinds = needs.all_kinds(Convention(k=(1, 3)))
    assert kinds[:2] == [BallKind(1), BallKind(3)]
    assert set(kinds[2:]) == needs.kinds
    assert needs.largest_k("real", Convention()) == needs.largest_k("generated", Convention()) == 9
    assert (needs | SurveyNeeds(reaches=frozenset({Reach(12, 1.0)}))).largest_k(
        "real", Convention()
    ) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clipped?k=0", "k is 0, expected a number above 0"),
        ("probabilistic-pr?scale=inf", "scale is inf, expected"),
        ("pr-cover?factor=-1", "factor is -1, expected"),
        ("pr-curve?k=-2", "k is -2, expected"),
        ("pr-curve?itself=maybe", "itself of pr-curve is 'maybe'; there are left-out, counted"),
    ],
)
def test_settings_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        find_metric(text)


@pytest.mark.parametrize(
    ("name", "count"), [("clipped_density", 5), ("precision_recall_cover", 9),
                        ("probabilistic_precision_recall", 4)]
)  # fmt: skip
def test_too_few_samples(rng: np.random.Generator, name: str, count: int) -> None:
    x = rng.normal(size=(count, 3))
    with pytest.raises(NotEnoughData, match=f"takes at least {count + 1}"):
        getattr(in_memory, name)(real=x, generated=rng.normal(size=(30, 3)))


def test_clipped_share() -> None:
    assert clipped_share(np.array([0, 2, 9]), 4) == pytest.approx(0.5)
