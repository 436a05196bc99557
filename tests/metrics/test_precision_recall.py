"""Precision and recall: the paper's algorithm flag by flag, what they mean, and peers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

import raymetrics as rm
from raymetrics import metrics as rm_metrics
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.search import ExactSearch, FlatSearch
from tests import oracles


def two_sets(rng: np.random.Generator, dimension: int, offset: float = 0.0):
    real = rng.normal(size=(120, dimension)) + offset
    generated = np.concatenate(
        [rng.normal(0, 0.8, size=(80, dimension)) + offset, real[:20], real[:20]]
    )
    return real.astype(np.float32), generated.astype(np.float32)


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("dimension", "offset"), [(2, 0.0), (8, 0.0), (64, 30.0)])
@pytest.mark.parametrize("engine", [ExactSearch, FlatSearch])
def test_flag_by_flag(rng, engine, dimension, offset, k) -> None:
    """Copies of real features lie exactly on balls' centres, so the closed ball is tested too."""
    real, generated = two_sets(rng, dimension, offset)
    search = engine()
    for queries, features in ((generated, real), (real, generated)):
        flags = search.covered(queries, features, search.radii(features, k))
        expected = oracles.manifold_flags(queries, features, k)
        np.testing.assert_array_equal(flags, expected)


def test_engines_agree_where_float32_is_blind(rng) -> None:
    """Far from the origin, on a lattice: many ties, and no digits left for float32 products."""
    lattice = rng.integers(0, 4, size=(300, 6)).astype(np.float32) + 4096
    real, generated = lattice[:150], lattice[150:]
    exact, flat = ExactSearch(), FlatSearch()
    for k in (1, 3):
        radii = exact.radii(real, k)
        np.testing.assert_array_equal(flat.radii(real, k), radii)
        np.testing.assert_array_equal(
            flat.covered(generated, real, radii), exact.covered(generated, real, radii)
        )


@pytest.mark.parametrize("factor", [2.0**-70, 2.0**60])
def test_scale_does_not_matter(rng, factor) -> None:
    """Squares of such numbers do not fit into float32."""
    real, generated = two_sets(rng, 8)
    search = FlatSearch()
    radii = search.radii(real, 3)
    scaled = search.radii((real * factor).astype(np.float32), 3)
    np.testing.assert_array_equal(scaled, radii * factor)
    flags = search.covered((generated * factor).astype(np.float32), real * factor, scaled)
    np.testing.assert_array_equal(flags, search.covered(generated, real, radii))


def test_an_outlier_changes_nothing(rng) -> None:
    real, generated = two_sets(rng, 8)
    real[0] += 1e6
    exact, flat = ExactSearch(), FlatSearch()
    np.testing.assert_array_equal(flat.radii(real, 3), exact.radii(real, 3))
    ours, truth = (
        rm_metrics.precision_recall(real=real, generated=generated, k=3, search=search)
        for search in (flat, exact)
    )
    assert ours == truth


def test_more_duplicates_than_are_fetched(rng) -> None:
    same = np.repeat(rng.normal(size=(3, 4)), 40, axis=0).astype(np.float32)
    np.testing.assert_array_equal(FlatSearch().radii(same, 3), np.zeros(120))


def test_meaning(rng) -> None:
    """A collapsed generator is precise and recalls nothing; a spread one the other way round."""
    real = rng.normal(size=(400, 4))
    collapsed = real[:1] + rng.normal(0, 1e-3, size=(400, 4))
    spread = rng.normal(0, 6, size=(400, 4))
    narrow = rm.precision_recall(real=real, generated=collapsed)
    wide = rm.precision_recall(real=real, generated=spread)
    assert narrow.precision == 1.0
    assert narrow.recall < 0.02
    assert wide.precision < 0.3
    assert wide.recall > 0.9


def test_torch_fidelity_and_prdc(rng) -> None:
    """Both agree on data without ties; prdc's open balls make no difference there."""
    real, generated = (rng.normal(m, 1, size=(200, 16)).astype(np.float32) for m in (0, 0.3))
    ours = rm.precision_recall(real=real, generated=generated, k=3)
    theirs = compute_prdc(real, generated, nearest_k=3)
    assert ours == (theirs["precision"], theirs["recall"])
    peers = prc_features_to_metric(
        torch.from_numpy(generated),
        torch.from_numpy(real),
        prc_neighborhood=3,
        prc_batch_size=64,
        save_cpu_ram=False,
        verbose=False,
    )
    assert ours.precision == pytest.approx(peers["precision"], abs=1e-6)  # theirs is float32
    assert ours.recall == pytest.approx(peers["recall"], abs=1e-6)


def test_bad_arrays_are_named() -> None:
    good = np.zeros((10, 3))
    with pytest.raises(ShardError, match=r"generated.*\[samples, dimension\]"):
        rm.precision_recall(real=good, generated=np.zeros(3))
    with pytest.raises(ShardError, match="3 dimensions.*4"):
        rm.precision_recall(real=good, generated=np.zeros((10, 4)))
    with pytest.raises(ShardError, match="real features hold NaN"):
        rm.precision_recall(real=np.full((10, 3), np.nan), generated=good)
    with pytest.raises(NotEnoughData, match="at least 4"):
        rm.precision_recall(real=good[:3], generated=good, k=3)
