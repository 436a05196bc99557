"""Whether generated arrays of features copy training ones."""

from __future__ import annotations

import numpy as np

from raymetrics import metrics
from raymetrics.errors import RaymetricsError
from raymetrics.in_memory.arrays import as_features
from raymetrics.metrics import CopyingTest, Projection
from raymetrics.neighbors.nearest_arrays import (
    cell_distances,
    nearest_rows,
    nearest_training_rows,
)
from raymetrics.statistics import Moments, NearestNeighbors
from raymetrics.statistics.validation import require_comparable_features


def nearest(*, real: np.ndarray, generated: np.ndarray, k: int = 1) -> NearestNeighbors:
    """Find the k nearest real, the training, rows of every generated row; exact.

    real, generated: real [n, d], [m, d]. Returns `distances` float64 [m, k], ascending, and `rows`
    int64 [m, k]; of equal distances the smaller rows. NotEnoughData if there are fewer real rows
    than k.
    """
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    return nearest_rows(real=real, generated=generated, k=k)


def auth_pct(*, real: np.ndarray, generated: np.ndarray) -> float:
    """Compute AuthPct (Alaa et al. 2022): how many percent of the generated copy no real sample.

    real, generated: real [n, d], [m, d]; the real samples are those of the training set. See
    `raymetrics.metrics.auth_pct`. NotEnoughData for fewer than 2 real samples.
    """
    real, generated = as_features(real), as_features(generated)
    require_comparable_features(real=real, generated=generated)
    return metrics.auth_pct(nearest_training_rows(real=real, generated=generated))


def c_t(*, real: np.ndarray, test: np.ndarray, generated: np.ndarray, seed: int = 0) -> CopyingTest:
    """Compute the data-copying test C_T (Meehan et al. 2020).

    real, test, generated: real [n, d], [t, d], [m, d]; real samples are those of the training set,
    test samples are held out. Distances are taken of 64 principal components of the training
    samples, within 3 clusters of them by k-means with this seed, as dgm-eval does. Far below 0:
    generated samples are nearer to training ones than held-out samples are.

    NotEnoughData for fewer than 64 training samples, or too few samples in the clusters;
    RaymetricsError for test samples that are training samples.
    """
    real, test, generated = map(as_features, (real, test, generated))
    for side in (test, generated):
        require_comparable_features(real=real, generated=side)
    projection = Projection.fit(Moments.from_samples(real))
    found = cell_distances(
        real=projection.project(real),
        test=projection.project(test),
        generated=projection.project(generated),
        seed=seed,
    )
    require_held_out(found["test"].distances)
    return metrics.c_t(**found)


def require_held_out(test_distances: np.ndarray) -> None:
    """Raise RaymetricsError if all test samples are at distance 0 of a training sample."""
    if len(test_distances) and not test_distances.any():
        raise RaymetricsError(
            f"all {len(test_distances)} test samples are training samples (distance 0); C_T takes "
            "held-out ones"
        )
