"""The kernel distance: a double sum, torch-fidelity's code, and what unbiased means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cleanfid import fid as cleanfid
from sklearn.metrics.pairwise import polynomial_kernel
from torch_fidelity.metric_kid import kernel_mmd, kid_features_to_metric

import raymetrics as rm
from raymetrics.errors import NotEnoughData
from raymetrics.metrics import (
    draw_subsets,
    kernel_distance,
    kernel_distance_of_draws,
    pair_tiles,
)
from raymetrics.metrics.kernel import squared_mmd
from tests.helpers import oracles


def test_double_sum_and_torch_fidelity(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(25, 6)), rng.normal(0.3, 1, size=(25, 6))
    found = squared_mmd(x, y)
    assert found == pytest.approx(oracles.unbiased_mmd(x, y), rel=1e-12)
    assert found == pytest.approx(kernel_mmd(x, y), rel=1e-9)


def test_unbiased(rng: np.random.Generator) -> None:
    """For two sets of one distribution the mean over draws is 0 within its own error."""
    found = [squared_mmd(*rng.normal(size=(2, 30, 4))) for _ in range(400)]
    error = np.std(found) / len(found) ** 0.5
    assert abs(np.mean(found)) < 4 * error
    assert min(found) < 0


def test_seeded(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(300, 5)), rng.normal(1, 1, size=(200, 5))
    asked = {"real": real, "generated": generated, "subsets": 5, "subset_size": 50}
    first = rm.kernel_distance(**asked, seed=1)
    assert first == rm.kernel_distance(**asked, seed=1)
    assert first != rm.kernel_distance(**asked, seed=2)
    assert first.mean > 5 * first.std > 0


def test_too_few_samples_are_an_error_not_a_number(rng: np.random.Generator) -> None:
    with pytest.raises(NotEnoughData, match=r"1000.*200 generated"):
        rm.kernel_distance(real=rng.normal(size=(1000, 3)), generated=rng.normal(size=(200, 3)))


def two_sets(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"real": rng.normal(size=(300, 6)), "generated": rng.normal(0.3, 1, size=(200, 6))}


@pytest.mark.parametrize("order", ["real-first", "generated-first"])
def test_torch_fidelity_s_draws(rng: np.random.Generator, order: str) -> None:
    """Its input 1 is drawn first, whichever side that is."""
    sides = two_sets(rng)
    asked = {"subsets": 7, "subset_size": 40}
    inputs = [torch.from_numpy(x) for x in sides.values()]
    theirs = kid_features_to_metric(
        *(inputs if order == "real-first" else inputs[::-1]),
        **{f"kid_{name}": value for name, value in asked.items()},
        rng_seed=2020,
        verbose=False,
    )
    found = kernel_distance(**sides, **asked, seed=2020, order=order, generator="mt19937")
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert found.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


def test_clean_fid_s_draws(rng: np.random.Generator) -> None:
    """It takes (real, generated), draws the latter first, and gives no deviation."""
    sides = two_sets(rng)
    np.random.seed(5)  # noqa: NPY002 - theirs is the global state
    theirs = cleanfid.kernel_distance(*sides.values(), num_subsets=7, max_subset_size=40)
    found = kernel_distance(
        **sides, subsets=7, subset_size=40, seed=5, order="generated-first", generator="mt19937"
    )
    assert found.mean == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("generator", ["pcg64", "mt19937"])
def test_draws_are_different_rows_of_either_side(generator: str) -> None:
    asked = {"real": 90, "generated": 50, "subsets": 4, "subset_size": 50, "seed": 3}
    found = draw_subsets(**asked, generator=generator)
    assert len(found) == 4
    for of_real, of_generated in found:
        assert len(set(of_real.tolist())) == len(set(of_generated.tolist())) == 50
        assert 50 < of_real.max() < 90
        assert of_generated.max() == 49
    again = draw_subsets(**asked, generator=generator, order="generated-first")
    assert any((a[0] != b[0]).any() for a, b in zip(found, again, strict=True))


def test_default_draws_stay_what_they_were() -> None:
    rng = np.random.default_rng(3)
    for of_real, of_generated in draw_subsets(
        real=30, generated=20, subsets=3, subset_size=5, seed=3
    ):
        np.testing.assert_array_equal(of_real, rng.choice(30, 5, replace=False))
        np.testing.assert_array_equal(of_generated, rng.choice(20, 5, replace=False))


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize("subsets", [2, 60])
def test_from_the_drawn_rows_alone(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, estimator: str, subsets: int
) -> None:
    """Whether subsets are multiplied one by one, or all rows once, in tiles."""
    monkeypatch.setattr(pair_tiles, "TILE_ROWS", 64)
    sides = two_sets(rng)
    draws = draw_subsets(real=300, generated=200, subsets=subsets, subset_size=50, seed=1)
    expected = [squared_mmd(sides["real"][r], sides["generated"][g], estimator) for r, g in draws]
    select_rows = [side.__getitem__ for side in sides.values()]
    found = kernel_distance_of_draws(*select_rows, draws, estimator)
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-11)
    assert found.std == pytest.approx(np.std(expected), rel=1e-9)
    assert found == kernel_distance(
        **sides, subsets=subsets, subset_size=50, seed=1, estimator=estimator
    )
    with pytest.raises(NotEnoughData, match="0 subsets"):
        kernel_distance_of_draws(*select_rows, [])


def test_biased_is_the_mean_with_the_diagonals(rng: np.random.Generator) -> None:
    """As scripts of KDD have it; equal sets are at distance 0."""
    sides = two_sets(rng)
    asked = {"subsets": 1, "subset_size": 200, "estimator": "biased"}
    x, y = sides["real"][:200], sides["generated"]
    expected = sum(
        sign * polynomial_kernel(a, b, degree=3, coef0=1).mean()
        for a, b, sign in ((x, x, 1), (y, y, 1), (x, y, -2))
    )
    found = rm.kernel_distance(real=x, generated=y, **asked)
    assert found.mean == pytest.approx(expected, rel=1e-9)
    assert found.mean > rm.kernel_distance(real=x, generated=y, subsets=1, subset_size=200).mean
    assert rm.kernel_distance(real=x, generated=x[::-1], **asked).mean == pytest.approx(
        0, abs=1e-12
    )
