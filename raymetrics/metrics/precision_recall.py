"""Improved precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al.
2020), realism: formulas of what a survey has found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raymetrics.metrics.manifold_survey import (
    ManifoldSurvey,
    NeighborSearch,
    RadiusRule,
    survey_manifolds,
    unchanged_radii,
)


class PrecisionRecall(NamedTuple):
    """Both in 0..1."""

    precision: float
    recall: float


class ManifoldScores(NamedTuple):
    """For one k; all but the density are in 0..1."""

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
    radius_rule: RadiusRule = unchanged_radii,
) -> PrecisionRecall:
    """Equation 2: the share of each side that lies in the manifold of the other.

    real, generated: real [n, d], [m, d]. A manifold is the union of the closed balls around the
    features, each reaching its k-th nearest neighbour of the same side, the centre itself not
    counted (Eq. 1, and the authors' program). NotEnoughData for k or fewer on a side.
    """
    manifolds = survey_manifolds(
        real=real, generated=generated, ks=[k], search=search, radius_rule=radius_rule, count=False
    )
    return PrecisionRecall(*precisions_recalls(manifolds)[0])


def precisions_recalls(manifolds: ManifoldSurvey) -> list[tuple[float, float]]:
    """Equation 2 for every k."""
    precision = (manifolds.generated_in_real.hits > 0).mean(axis=0)
    recall = (manifolds.real_in_generated.hits > 0).mean(axis=0)
    return list(zip(precision.tolist(), recall.tolist(), strict=True))


def densities_coverages(manifolds: ManifoldSurvey) -> list[tuple[float, float]]:
    """Naeem et al. (2020), section 3, for every k of a survey that counted: how many real balls
    hold a generated sample, over k; and the share of real balls that hold any."""
    density = manifolds.generated_in_real.hits.mean(axis=0) / np.array(manifolds.ks)
    coverage = manifolds.generated_in_real.occupied.mean(axis=0)
    return list(zip(density.tolist(), coverage.tolist(), strict=True))


def f_score(precision: float, recall: float) -> float:
    """The harmonic mean; 0 if both are."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def manifold_scores(manifolds: ManifoldSurvey) -> list[ManifoldScores]:
    """All of them, for every k in ascending order."""
    return [
        ManifoldScores(precision, recall, f_score(precision, recall), density, coverage)
        for (precision, recall), (density, coverage) in zip(
            precisions_recalls(manifolds), densities_coverages(manifolds), strict=True
        )
    ]


def rank_ids(sample_ids: np.ndarray | Sequence[int], realism: np.ndarray) -> np.ndarray:
    """Sample ids int64 [n] from the most to the least realistic; of equal ones the lower first."""
    order = np.lexsort([np.asarray(sample_ids), -realism])
    return np.asarray(sample_ids)[order]
