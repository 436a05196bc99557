"""C_T: by the formulas of its authors' program, and of copies, strangers and held-out samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import raymetrics as rm
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import CellDistances, c_t, mann_whitney_z


def textbook(real: np.ndarray, test: np.ndarray, generated: np.ndarray, seed: int = 0) -> float:
    """Compute C_T step by step, with scikit-learn and scipy alone."""
    sides = [real, test, generated]
    if real.shape[1] > 64:
        pca = PCA(64, svd_solver="full").fit(real)
        sides = [pca.transform(x) for x in sides]
    kmeans = KMeans(3, n_init=10, random_state=seed).fit(sides[0])
    labels = [kmeans.predict(x) for x in sides]
    total = weights = 0.0
    for cell in range(3):
        train, held_out, made = (x[of == cell] for x, of in zip(sides, labels, strict=True))
        if len(made) / len(generated) > 20 / len(generated):
            index = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(train)
            far_made, far_out = (index.kneighbors(x)[0][:, 0] for x in (made, held_out))
            m, n = len(made), len(held_out)
            u = mannwhitneyu(far_made, far_out, alternative="less").statistic
            z = (u - (m * n / 2 - 0.5)) / np.sqrt(m * n * (m + n + 1) / 12)
            total += n / len(test) * z
            weights += n / len(test)
    return total / weights


def three_groups(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Draw samples around three centers, so that the cells are plain."""
    centers = 6 * np.eye(3, dimension)
    return centers[rng.integers(3, size=count)] + rng.normal(size=(count, dimension))


@pytest.mark.parametrize("dimension", [5, 64, 90])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_formulas_of_the_program(dimension: int, dtype: type, rng: np.random.Generator) -> None:
    real, test, generated = (three_groups(rng, n, dimension).astype(dtype) for n in (400, 150, 200))
    generated[:40] = real[:40]  # copies, and so ties
    found = rm.in_memory.c_t(real=real, test=test, generated=generated, seed=3)
    expected = textbook(*(x.astype(np.float64) for x in (real, test, generated)), seed=3)
    assert found.value == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(found.weights.sum(), 1)


def test_a_cell_with_too_few_generated_samples(rng: np.random.Generator) -> None:
    """It is left out, and the others are weighted by their shares of the test samples."""
    real, test = three_groups(rng, 300, 4), three_groups(rng, 120, 4)
    generated = three_groups(rng, 240, 4)
    first = np.flatnonzero(generated[:, 0] > 3)
    for kept in (20, 21):
        some = np.delete(generated, first[kept:], axis=0)
        found = rm.in_memory.c_t(real=real, test=test, generated=some)
        assert np.isnan(found.z_scores).sum() == (kept == 20)
        assert found.value == pytest.approx(textbook(real, test, some), rel=1e-9)


def test_copies_strangers_and_held_out_samples(rng: np.random.Generator) -> None:
    """And the order of samples does not matter."""
    real, test, fresh = (three_groups(rng, n, 6) for n in (400, 200, 300))
    near = real[:300] + 0.01 * rng.normal(size=(300, 6))
    copied, new, far = (
        rm.in_memory.c_t(real=real, test=test, generated=x) for x in (near, fresh, fresh * 1.5)
    )
    assert copied.value < -8
    assert far.value > 4
    assert copied.p_value < 1e-12
    assert 0.001 < new.p_value < 0.999
    assert far.p_value > 0.999
    weight = np.linalg.norm(new.weights)
    assert new.p_value == pytest.approx(norm.cdf(new.value / weight))
    again = rm.in_memory.c_t(
        real=real, test=rng.permutation(test), generated=rng.permutation(fresh)
    )
    assert again.value == pytest.approx(new.value, rel=1e-12)


def test_the_p_value_is_uniform_where_nothing_is_copied(rng: np.random.Generator) -> None:
    """Of 400 draws, a tenth lies below 0.1: 3 deviations are 4.5 %."""
    p_values = []
    for _ in range(400):
        sides = [CellDistances(rng.random(n), rng.integers(3, size=n)) for n in (150, 100)]
        p_values.append(c_t(generated=sides[0], test=sides[1]).p_value)
    assert abs(np.mean(np.array(p_values) < 0.1) - 0.1) < 0.045


def test_ties_count_half() -> None:
    """U of equal sets is half of all pairs; the program's mean of U is lower by 0.5."""
    z = mann_whitney_z(np.ones(4), np.ones(6))
    assert z == pytest.approx(0.5 / np.sqrt(4 * 6 * 11 / 12))


def test_too_few_samples(rng: np.random.Generator) -> None:
    real, test, generated = (three_groups(rng, n, 70) for n in (100, 60, 90))
    sides = {"real": real, "test": test, "generated": generated}
    for changed, message in (
        ({"real": real[:63]}, "63 training samples; its 64 principal components take"),
        ({"generated": generated[:20]}, "20 generated samples, of which .* takes at least 21"),
        ({"test": test[:1]}, "1 test samples, of which .* each takes at least 1"),
    ):
        with pytest.raises(NotEnoughData, match=message):
            rm.in_memory.c_t(**{**sides, **changed})
    with pytest.raises(NotEnoughData, match="2 training samples; its 3 cells"):
        rm.in_memory.c_t(**{side: x[:, :5] for side, x in sides.items()} | {"real": real[:2, :5]})
    with pytest.raises(RaymetricsError, match="all 60 test samples are training samples"):
        rm.in_memory.c_t(**{**sides, "test": real[:60]})
