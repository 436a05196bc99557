"""Textbook versions of the metrics, in float64 and a few lines each."""

from __future__ import annotations

import numpy as np
from scipy.linalg import sqrtm


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> float:
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    shift = real.mean(axis=0) - generated.mean(axis=0)
    real_covariance, generated_covariance = np.cov(real.T), np.cov(generated.T)
    root = sqrtm(real_covariance @ generated_covariance)
    return float(shift @ shift + np.trace(real_covariance + generated_covariance - 2 * root.real))


def manifold_flags(queries: np.ndarray, features: np.ndarray, k: int) -> np.ndarray:
    """Compute f(query, features) for every query: Algorithm 1 of Kynkaanniemi et al. (2019)."""
    x = features.astype(np.float64)
    flags = np.zeros(len(queries), bool)
    radii = []
    for i in range(len(x)):
        distances = sorted(np.sqrt(((x[i] - x[j]) ** 2).sum()) for j in range(len(x)) if j != i)
        radii.append(distances[k - 1])
    for n, query in enumerate(queries.astype(np.float64)):
        for center, radius in zip(x, radii, strict=True):
            if np.sqrt(((query - center) ** 2).sum()) <= radius:
                flags[n] = True
    return flags


def balls(
    queries: np.ndarray, features: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the balls that hold each query, and the queries that each ball holds.

    These are the sums of Naeem et al. (2020), Eqs. 5 and 6. Also returns each query's realism
    (Kynkaanniemi et al. 2019, Eq. 3).
    """
    x = features.astype(np.float64)
    pair_distances = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in x] for a in x])
    radii = np.array([np.sort(np.delete(row, i))[k - 1] for i, row in enumerate(pair_distances)])
    hits = np.zeros(len(queries), int)
    occupancy = np.zeros(len(x), int)
    realism = np.zeros(len(queries))
    for n, query in enumerate(queries.astype(np.float64)):
        for i, center in enumerate(x):
            distance = np.sqrt(((query - center) ** 2).sum())
            if distance <= radii[i]:
                hits[n] += 1
                occupancy[i] += 1
            if radii[i] <= np.median(radii):
                realism[n] = max(realism[n], radii[i] / distance if distance else np.inf)
    return hits, occupancy, realism


def unbiased_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Compute Gretton et al. (2012), Eq. 3, with KID's kernel, as double sums."""
    d, m = x.shape[1], len(x)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / d + 1) ** 3)

    same = sum(
        kernel(x[i], x[j]) + kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j
    )
    cross = sum(kernel(x[i], y[j]) for i in range(m) for j in range(m))
    return same / (m * (m - 1)) - 2 * cross / m**2


def weighted_frechet_distance(
    real: np.ndarray, generated: np.ndarray, weights: np.ndarray
) -> float:
    """Compute the distance of weighted candidates by singular values of the features.

    No covariance is computed, so that nothing is lost where it is singular. Means are long doubles.
    """
    x, y, p = (part.astype(np.longdouble) for part in (real, generated, weights / weights.sum()))
    shift = x.mean(axis=0) - p @ y
    a = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    b = (y - p @ y) * np.sqrt(p)[:, None]
    overlap = np.linalg.svd((a.astype(float) @ b.T.astype(float)), compute_uv=False).sum()
    return float(shift @ shift + (a * a).sum() + (b * b).sum() - 2 * np.longdouble(overlap))
