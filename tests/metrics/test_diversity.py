"""Vendi of any order, RKE and RRKE: the authors' package, double loops, known sets, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from vendi_score.vendi import score_dual

from raymetrics import in_memory
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.evaluator import compute_from_rows
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import find_metric

ORDERS = (0, 0.1, 0.5, 1, 2, 5.5, 40, np.inf)


@pytest.mark.parametrize("order", ORDERS)
def test_package_in_every_order(rng: np.random.Generator, order: float) -> None:
    sides = {"real": rng.normal(0.3, 1, (90, 12)), "generated": rng.normal(1, 1, (80, 12))}
    found = in_memory.vendi(**sides, order=order)
    official_order = "inf" if order == np.inf else order
    for side, score in zip(("generated", "real"), found, strict=True):
        assert score == pytest.approx(score_dual(sides[side], q=official_order), rel=1e-9)


@pytest.mark.parametrize("order", ORDERS)
def test_known_sets(order: float) -> None:
    """d orthogonal directions in equal shares are d, whatever the order and the dimension."""
    directions = np.concatenate([np.eye(5), np.zeros((5, 9))], axis=1)
    found = in_memory.vendi(
        real=np.ones((7, 14)), generated=np.tile(directions, (3, 1)), order=order
    )
    assert found == pytest.approx((5, 1), rel=1e-9)


def test_orders_never_rise(rng: np.random.Generator) -> None:
    x = rng.normal(0.5, 1, (60, 9))
    scores = [in_memory.vendi(real=x, generated=x, order=order).real for order in ORDERS]
    assert (np.diff(scores) <= 1e-12).all()


def gaussian(x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """The kernel of the authors' program, pair by pair."""
    return np.array([[np.exp(-0.5 * ((a - b) ** 2).sum() / sigma**2) for b in y] for a in x])


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_rke(rng: np.random.Generator, sigma: float) -> None:
    sides = {"real": 50 + rng.normal(size=(40, 3)), "generated": rng.normal(size=(30, 3))}
    found = in_memory.rke(**sides, sigma=sigma)
    expected = [
        1 / np.mean(gaussian(sides[side], sides[side], sigma) ** 2)
        for side in ("generated", "real")
    ]
    assert found == pytest.approx(expected, rel=1e-9)


def test_rke_in_blocks(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    x = rng.normal(size=(50, 3))
    whole = in_memory.rke(real=x, generated=x, sigma=1.0)
    monkeypatch.setattr("raymetrics.metrics.renyi_kernel_entropy._BLOCK_ROWS", 7)
    assert in_memory.rke(real=x, generated=x, sigma=1.0) == pytest.approx(whole, rel=1e-12)


def test_rke_counts_modes(rng: np.random.Generator) -> None:
    """Of modes far apart, with a kernel as wide as none of the gaps; with cosines it is order 2."""
    modes = np.repeat(100 * np.eye(6), 20, axis=0)
    assert in_memory.rke(real=modes, generated=modes, sigma=1.0).real == pytest.approx(6)
    x = rng.normal(1, 1, (50, 6))
    assert in_memory.rke(real=x, generated=x) == in_memory.vendi(real=x, generated=x, order=2)


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_rrke(rng: np.random.Generator, sigma: float) -> None:
    """Of the first samples, as the authors' program; the kernel is its Gaussian, or cosines."""
    real, generated = rng.normal(0.2, 1, (60, 4)), rng.normal(0.6, 1, (55, 4))
    x, y = real[:50], generated[:50]
    units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, y)]
    kernel = gaussian(x, y, sigma) if sigma else units[0] @ units[1].T
    expected = -np.log(np.linalg.svd(kernel / 50, compute_uv=False).sum() ** 2)
    found = in_memory.rrke(real=real, generated=generated, sigma=sigma, count=50)
    assert found == pytest.approx(expected, rel=1e-9)


def test_rrke_of_all_samples(rng: np.random.Generator) -> None:
    """By moments it is what it is by the kernel, also of fewer samples than dimensions."""
    for n, m, d in ((80, 60, 5), (20, 30, 50)):
        x, y = rng.normal(0.3, 1, (n, d)), rng.normal(0.5, 1, (m, d))
        units = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (x, y)]
        norm = np.linalg.svd(units[0] @ units[1].T, compute_uv=False).sum() / np.sqrt(n * m)
        found = in_memory.rrke(real=x, generated=y, count=0)
        assert found == pytest.approx(-2 * np.log(norm), rel=1e-7)
        assert in_memory.rrke(real=x, generated=x, count=0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("vendi", {"kernel": "cosine", "order": 1}),
        ("vendi?order=inf", {"kernel": "cosine", "order": "inf"}),
        ("vendi?order=0.5", {"kernel": "cosine", "order": 0.5}),
        ("rke", {"kernel": "cosine", "order": 2}),
        ("rke?sigma=3", {"kernel": "gaussian", "sigma": 3.0, "order": 2}),
        ("rrke?count=0", {"kernel": "cosine", "order": 0.5, "of": "all"}),
        ("rrke?count=40&sigma=3",
         {"kernel": "gaussian", "sigma": 3.0, "order": 0.5, "of": "the first 40 of each side"}),
    ],
)  # fmt: skip
def test_a_number_says_what_made_it(rng: np.random.Generator, text: str, fields: dict) -> None:
    x, y = (rng.normal(size=(n, 4)).astype(np.float32) for n in (50, 45))
    (value,) = compute_from_rows(find_metric(text), x, y, Convention())
    assert value.convention == fields
    assert np.isfinite(value.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vendi?order=-1", "order of the Vendi score is -1.0, expected 0 to inf"),
        ("vendi?order=nan", "order of the Vendi score is nan"),
        ("rke?sigma=-2", "sigma is -2.0"),
        ("rrke?sigma=1&count=0", "RRKE of all samples takes cosines"),
        ("rrke?count=-1", "count is -1"),
    ],
)
def test_settings_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(RaymetricsError, match=message):
        find_metric(text)


def test_what_has_no_number_is_an_error(rng: np.random.Generator) -> None:
    x = rng.normal(size=(40, 4))
    with pytest.raises(NotEnoughData, match="RRKE of 40 real and 30 generated"):
        in_memory.rrke(real=x, generated=x[:30], count=35)
    x[3] = 0
    with pytest.raises(ShardError, match="1 of 40 rows of features have no direction"):
        in_memory.rrke(real=x, generated=x, count=40)
