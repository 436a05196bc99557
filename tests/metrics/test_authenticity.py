"""AuthPct: by its definition, by dgm-eval's matrices, and in cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import raymetrics as rm
from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics import auth_pct, neighbor_ratios
from raymetrics.metrics.registry import find_metric
from raymetrics.neighbors import ENGINES
from raymetrics.neighbors.nearest_arrays import nearest_training_rows
from tests.helpers.neighbor_cases import WORLDS


def authentic_percent(real: np.ndarray, generated: np.ndarray) -> float:
    """Compute what dgm-eval computes, of two matrices of distances, here in float64."""
    real, generated = (torch.from_numpy(x.astype(np.float64)) for x in (real, generated))
    exact = "donot_use_mm_for_euclid_dist"
    among = torch.cdist(real, real, compute_mode=exact)
    among.fill_diagonal_(torch.inf)
    nearest = torch.cdist(generated, real, compute_mode=exact).min(dim=1)
    return float(100 * (among.min(dim=1).values[nearest.indices] < nearest.values).double().mean())


@pytest.mark.parametrize("kind", ["gaussian 8 30 float32", "lattice", "outlier", "duplicates"])
def test_the_matrices_of_the_program(kind: str) -> None:
    real, generated = WORLDS[kind](np.random.default_rng(3))
    found = rm.in_memory.auth_pct(real=real, generated=generated)
    assert found == pytest.approx(authentic_percent(real, generated), rel=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_counted_by_hand(engine: str) -> None:
    """0 and 1 are neighbors; so is 10, which is far from both; 20 is there twice."""
    real = np.array([0, 1, 10, 20, 20], np.float32)[:, None]
    generated = np.array([0, 0.4, -1, -1.5, 9, 18.9, 20, 20.5], np.float32)[:, None]
    nearest = nearest_training_rows(real=real, generated=generated, engine=engine)
    expected = [False, False, False, True, False, True, False, True]
    assert (nearest.distances > nearest.neighbor_distances).tolist() == expected
    assert auth_pct(nearest) == 37.5


def test_the_order_of_samples_does_not_matter(rng: np.random.Generator) -> None:
    real, generated = rng.normal(size=(60, 5)), rng.normal(size=(40, 5))
    shuffled = rng.permutation(real), rng.permutation(generated)
    whole = rm.in_memory.auth_pct(real=real, generated=generated)
    assert rm.in_memory.auth_pct(real=shuffled[0], generated=shuffled[1]) == whole
    assert rm.in_memory.auth_pct(real=real, generated=real) == 0  # all are copies
    assert rm.in_memory.auth_pct(real=real, generated=generated + 100) == 100


def test_too_few_samples() -> None:
    some = np.zeros((3, 2))
    with pytest.raises(NotEnoughData, match="1 nearest neighbours of each of 1 real samples"):
        rm.in_memory.auth_pct(real=some[:1], generated=some)
    with pytest.raises(NotEnoughData, match="AuthPct of 0 generated samples"):
        rm.in_memory.auth_pct(real=some, generated=some[:0])
    with pytest.raises(ShardError, match="generated features hold NaN"):
        rm.in_memory.auth_pct(real=some, generated=some * np.nan)
    assert find_metric("auth-pct?program=fld").variant == "auth-pct?program=fld"


def test_nearest_of_arrays() -> None:
    real = np.array([[0.0], [2], [2], [5]])
    found = rm.in_memory.nearest(real=real, generated=np.array([[2.0], [4]]), k=3)
    assert found.rows.tolist() == [[1, 2, 0], [3, 1, 2]]
    assert found.distances.tolist() == [[0, 0, 2], [1, 2, 2]]
    for k in (0, 5):
        with pytest.raises(NotEnoughData, match=f"the {k} nearest of 4 real samples"):
            rm.in_memory.nearest(real=real, generated=real, k=k)


def test_ratios_to_the_next_neighbors() -> None:
    distances = np.array([[1.0, 2, 4], [3, 3, 3], [0, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(neighbor_ratios(distances), [1 / 3, 1, 0, np.nan])
