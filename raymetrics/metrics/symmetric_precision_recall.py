"""Symmetric precision and recall (Khayatkhoei & AbdAlmageed 2023)."""

from __future__ import annotations

from raymetrics.metrics.manifold_survey import ManifoldSurvey
from raymetrics.metrics.precision_recall import PrecisionRecall, precisions_recalls


def symmetric_precisions_recalls(manifolds: ManifoldSurvey) -> list[PrecisionRecall]:
    """Compute the lesser of precision and its complement, and of recall and coverage, for every k.

    The complement is the share of generated balls that hold a real sample, as coverage is that of
    real balls that hold a generated one. The survey must have counted.
    """
    complement = (manifolds.real_in_generated.occupancy > 0).mean(axis=0).tolist()
    coverage = (manifolds.generated_in_real.occupancy > 0).mean(axis=0).tolist()
    return [
        PrecisionRecall(min(precision, complement[i]), min(recall, coverage[i]))
        for i, (precision, recall) in enumerate(precisions_recalls(manifolds))
    ]
