"""AuthPct (Alaa et al. 2022): how many generated samples are no copies of training samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from raymetrics.errors import NotEnoughData


@dataclass(frozen=True, eq=False)
class NearestTraining:
    """How far each generated sample is from its nearest training sample.

    neighbor_distances: how far that training sample is from the nearest other one.
    """

    distances: np.ndarray  # float64 [m]
    neighbor_distances: np.ndarray  # float64 [m]


def auth_pct(nearest: NearestTraining) -> float:
    """Compute the percentage of authentic samples y: d(y, x) > d(x, x'), x = nn(y), x' = nn(x).

    Definition of the authenticity in section 4 of the paper, as a percentage. A copy is not
    authentic; nor is a sample at exactly the distance of the neighbor. NotEnoughData without
    samples, or if a training sample has no other one.
    """
    if not len(nearest.distances) or not np.isfinite(nearest.neighbor_distances).all():
        raise NotEnoughData(
            f"AuthPct of {len(nearest.distances)} generated samples; it takes at least 1, and at "
            "least 2 training samples"
        )
    return float(100 * (nearest.distances > nearest.neighbor_distances).mean())


def neighbor_ratios(distances: np.ndarray) -> np.ndarray:
    """Divide the distance to the nearest sample by the mean of the next ones, float64 [n].

    distances: float64 [n, k], ascending, k at least 2. About 1 where no training sample stands out,
    near 0 for a copy of one of them (the extraction test of Carlini et al. 2023, section 4.2, whose
    threshold multiplies the mean). NaN where all k distances are 0.
    """
    means = distances[:, 1:].mean(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(distances[:, 0] / means)
