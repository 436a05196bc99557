"""KAD (Chung et al. 2025): the kernel audio distance, of any features."""

from __future__ import annotations

from typing import Literal

import numpy as np

from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics.gaussian_mmd import gaussian_mmd
from raymetrics.metrics.median_distance import median_distance

KADBandwidth = Literal["real", "generated"]

_SCALE = 100  # part of the definition


def kad(*, real: np.ndarray, generated: np.ndarray, bandwidth: KADBandwidth = "real") -> float:
    """Compute 100 MMD^2 with a Gaussian kernel as wide as the median distance of a side.

    The estimate is unbiased (Gretton et al. 2012, Eq. 3), so it may be below 0. real, generated:
    real [n, d], [m, d]. bandwidth: the side whose median it is; the paper takes the reference, and
    kadtk, its program, the set that is evaluated. NotEnoughData for fewer than two samples on a
    side, ShardError for a median of 0.
    """
    if min(len(real), len(generated)) < 2:
        raise NotEnoughData(
            f"KAD of {len(real)} real and {len(generated)} generated samples; "
            "it takes at least two on each side"
        )
    x, y = real.astype(np.float64), generated.astype(np.float64)
    median = median_distance(x if bandwidth == "real" else y)
    if not median:
        raise ShardError(
            f"half of all pairs of {bandwidth} samples have equal features, so that their median "
            "distance is no bandwidth; remove copies of samples"
        )
    return _SCALE * gaussian_mmd(x, y, median, "unbiased")
