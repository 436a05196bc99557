"""Improved precision and recall, density and coverage: formulas of a survey of manifolds.

Kynkaanniemi et al. (2019) and Naeem et al. (2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raymetrics.metrics.conventions import Convention
from raymetrics.metrics.manifold_survey import (
    ManifoldSurvey,
    NeighborSearch,
    survey_manifolds,
)


class PrecisionRecall(NamedTuple):
    """Precision and recall, both in 0..1."""

    precision: float
    recall: float


class ManifoldScores(NamedTuple):
    """The scores for one k; all except the density are in 0..1."""

    precision: float
    recall: float
    f_score: float
    density: float
    coverage: float


def precision_recall(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    k: int,
    search: NeighborSearch,
    convention: Convention | None = None,
) -> PrecisionRecall:
    """Compute Eq. 2: the share of each side that lies in the manifold of the other side.

    real, generated: real [n, d], [m, d]. A manifold is the union of the closed balls around the
    features. Each ball reaches to the k-th nearest neighbor of its center on the same side, without
    the center (Eq. 1, and the authors' program). convention: of another program, see
    `Convention`. NotEnoughData for k samples or fewer on a side.
    """
    manifolds = survey_manifolds(
        real=real, generated=generated, ks=[k], search=search, convention=convention, count=False
    )
    return PrecisionRecall(*precisions_recalls(manifolds)[0])


def precisions_recalls(manifolds: ManifoldSurvey) -> list[tuple[float, float]]:
    """Compute precision and recall, Eq. 2, for every k."""
    precision = (manifolds.generated_in_real.hits > 0).mean(axis=0)
    recall = (manifolds.real_in_generated.hits > 0).mean(axis=0)
    return list(zip(precision.tolist(), recall.tolist(), strict=True))


def densities_coverages(manifolds: ManifoldSurvey) -> list[tuple[float, float]]:
    """Compute density and coverage (Naeem et al. 2020, section 3) for every k.

    Density is the mean number of real balls that hold a generated sample, divided by k; coverage is
    the share of real balls that hold any generated sample. The survey must have counted balls.
    """
    density = manifolds.generated_in_real.hits.mean(axis=0) / np.array(manifolds.ks)
    coverage = (manifolds.generated_in_real.occupancy > 0).mean(axis=0)
    return list(zip(density.tolist(), coverage.tolist(), strict=True))


def f_score(precision: float, recall: float) -> float:
    """Compute the harmonic mean; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def manifold_scores(manifolds: ManifoldSurvey) -> list[ManifoldScores]:
    """Compute all scores for every k in ascending order."""
    return [
        ManifoldScores(precision, recall, f_score(precision, recall), density, coverage)
        for (precision, recall), (density, coverage) in zip(
            precisions_recalls(manifolds), densities_coverages(manifolds), strict=True
        )
    ]


def rank_ids(sample_ids: np.ndarray | Sequence[int], realism: np.ndarray) -> np.ndarray:
    """Sort sample ids, int64 [n], from the most to the least realistic; equal ones by id."""
    order = np.lexsort([np.asarray(sample_ids), -realism])
    return np.asarray(sample_ids)[order]
