"""Precision and recall cover (Cheema & Urner 2023)."""

from __future__ import annotations

import numpy as np

from raymetrics.metrics.precision_recall import PrecisionRecall


def precision_recall_cover(
    *, generated_occupancy: np.ndarray, real_occupancy: np.ndarray, k: int
) -> PrecisionRecall:
    """Compute the share of generated balls that hold at least k real samples, and the converse.

    The balls reach to the C k-th nearest neighbor. generated_occupancy, real_occupancy: int64 [m],
    [n], how many samples of the other side the ball of each one holds.
    """
    precision, recall = (
        float((occupancy >= k).mean()) for occupancy in (generated_occupancy, real_occupancy)
    )
    return PrecisionRecall(precision, recall)
