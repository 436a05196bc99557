"""The kernel distances of two arrays of features, over all pairs."""

from __future__ import annotations

from typing import Any

from raymetrics import metrics
from raymetrics.in_memory.arrays import as_comparable_features
from raymetrics.metrics import CMMDBandwidth, CMMDLengths, KADBandwidth


def cmmd(
    *,
    real: Any,
    generated: Any,
    bandwidth: CMMDBandwidth = "10",
    lengths: CMMDLengths = "unit",
) -> float:
    """Compute CMMD (Jayasumana et al. 2024) of two sets of CLIP embeddings.

    real, generated: real [n, d], [m, d]; scaled to length 1. bandwidth: the published one, or the
    "median" distance of all pairs of both sides. See `raymetrics.metrics.cmmd`.
    """
    x, y = as_comparable_features(real=real, generated=generated)
    return metrics.cmmd(real=x, generated=y, bandwidth=bandwidth, lengths=lengths)


def kad(*, real: Any, generated: Any, bandwidth: KADBandwidth = "real") -> float:
    """Compute KAD (Chung et al. 2025), 100 times the unbiased MMD^2 with the median bandwidth.

    real, generated: real [n, d], [m, d]. bandwidth: the side whose median distance it is. See
    `raymetrics.metrics.kad`.
    """
    x, y = as_comparable_features(real=real, generated=generated)
    return metrics.kad(real=x, generated=y, bandwidth=bandwidth)
