"""CMMD (Jayasumana et al. 2024): the distance between two sets of CLIP embeddings."""

from __future__ import annotations

from typing import Literal

import numpy as np

from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.metrics.gaussian_mmd import gaussian_mmd, gaussian_mmd_influences
from raymetrics.metrics.median_distance import median_distance
from raymetrics.metrics.unit_length import normalize_rows

CMMDBandwidth = Literal["10", "median"]
CMMDLengths = Literal["unit", "kept"]

_SCALE = 1000  # part of the definition


def cmmd(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    bandwidth: CMMDBandwidth = "10",
    lengths: CMMDLengths = "unit",
) -> float:
    """Compute 1000 MMD^2 with a Gaussian kernel, between embeddings scaled to length 1.

    The estimate is the biased one (Gretton et al. 2012, Eq. 5), which includes the kernel of each
    sample with the same sample, as the authors' program does: it is 0 for equal sets, and below 0
    only by rounding. real, generated: real [n, d], [m, d]. bandwidth: the published one, or the
    median distance of all pairs of both sides. lengths: "kept" does not scale embeddings; with the
    median it is the number of FD-loss. NotEnoughData for an empty side, ShardError for a row of
    zeros that is to be scaled, and for a median of 0.
    """
    if not len(real) or not len(generated):
        raise NotEnoughData(
            f"CMMD of {len(real)} real and {len(generated)} generated samples; "
            "it takes at least one on each side"
        )
    x, y = _scale_sides(real, generated, lengths)
    width = 10.0 if bandwidth == "10" else _median_of_both(x, y)
    return _SCALE * gaussian_mmd(x, y, width, "biased")


def _median_of_both(x: np.ndarray, y: np.ndarray) -> float:
    """Find the median distance of all pairs of rows of both sides. ShardError if it is 0."""
    median = median_distance(np.concatenate([x, y]))
    if not median:
        raise ShardError(
            "half of all pairs of samples have equal features, so that their median distance is no "
            "bandwidth; take --metrics cmmd, whose bandwidth is 10"
        )
    return median


def cmmd_influences(
    *, real: np.ndarray, generated: np.ndarray, lengths: CMMDLengths = "unit"
) -> tuple[np.ndarray, np.ndarray]:
    """Return n times what each sample adds to CMMD, to first order, float64 [n], [m].

    The bandwidth is the published one.
    """
    x, y = _scale_sides(real, generated, lengths)
    of_real, of_generated = gaussian_mmd_influences(x, y, 10.0)
    return _SCALE * of_real, _SCALE * of_generated


def _scale_sides(
    real: np.ndarray, generated: np.ndarray, lengths: CMMDLengths
) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides in float64, scaled to length 1 or as they are."""
    if lengths == "unit":
        return normalize_rows(real), normalize_rows(generated)
    return real.astype(np.float64), generated.astype(np.float64)
