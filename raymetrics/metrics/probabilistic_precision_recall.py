"""Probabilistic precision and recall (Park & Kim 2023)."""

from __future__ import annotations

import numpy as np

from raymetrics.metrics.precision_recall import PrecisionRecall


def probabilistic_precision_recall(
    *, generated_misses: np.ndarray, real_misses: np.ndarray
) -> PrecisionRecall:
    """Compute the mean probability that a sample lies in the support of the other side.

    A sample is outside of it with the probability prod d / R, over the samples of the other side
    nearer than its reach R. generated_misses, real_misses: these products, float64 [m], [n].
    """
    precision, recall = (float((1 - misses).mean()) for misses in (generated_misses, real_misses))
    return PrecisionRecall(precision, recall)
