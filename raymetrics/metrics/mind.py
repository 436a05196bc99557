"""MIND (Berthet et al. 2026): the Monge Inception distance, by sorted projections."""

from __future__ import annotations

import numpy as np

from raymetrics.metrics.random_projections import (
    ProjectionDraws,
    mean_squared_transport,
    project,
)


def mind(
    *, real: np.ndarray, generated: np.ndarray, projections: int = 1000, seed: int = 2020
) -> float:
    """Compute the Monge Inception distance of two sets of features.

    real, generated: real [n, d], [m, d]. Of unequal counts the larger side is cut to a random part
    of it, as torch-fidelity does with this seed. Unlike a Frechet distance it sees more of the
    features than their mean and covariance. NotEnoughData for an empty side, or fewer than 16
    projections.
    """
    x, y = project_sides(real=real, generated=generated, projections=projections, seed=seed)
    return mind_of_projections(x, y, real.shape[1])


def mind_of_projections(real: np.ndarray, generated: np.ndarray, dimension: int) -> float:
    """Compute 3 d times the mean squared transport (Berthet et al. 2026, arXiv 2605.06797).

    real, generated: projections of as many samples, float32 [n, projections]; dimension: d, that
    of the features.
    """
    return 3 * dimension * mean_squared_transport(real, generated)


def project_sides(
    *, real: np.ndarray, generated: np.ndarray, projections: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Project as many samples of both sides onto random directions, float32 [n, projections]."""
    draws = ProjectionDraws(len(real), len(generated), projections, seed)
    directions = draws.directions(real.shape[1])

    def select_samples(features: np.ndarray, side: str) -> np.ndarray:
        rows = draws.chosen_rows(side)
        return features if rows is None else features[rows]

    return (
        project(select_samples(real, "real"), directions),
        project(select_samples(generated, "generated"), directions),
    )
