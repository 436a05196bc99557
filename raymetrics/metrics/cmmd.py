"""CMMD (Jayasumana et al. 2024): the distance between two sets of CLIP embeddings."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.unit_length import normalize_rows

# Both are part of the definition.
_SIGMA = 10
_SCALE = 1000


def cmmd(*, real: np.ndarray, generated: np.ndarray, chunk_rows: int = 1024) -> float:
    """Compute 1000 MMD^2 with a Gaussian kernel, between embeddings scaled to length 1.

    The estimate is the biased one (Gretton et al. 2012, Eq. 5), which includes the kernel of each
    sample with the same sample, as the authors' program does: it is 0 for equal sets, and below 0
    only by rounding. real, generated: real [n, d], [m, d]. Holds `chunk_rows` rows of kernels at a
    time. NotEnoughData for an empty side, ShardError for a row of zeros.
    """
    if not len(real) or not len(generated):
        raise NotEnoughData(
            f"CMMD of {len(real)} real and {len(generated)} generated samples; "
            "it takes at least one on each side"
        )
    x, y = normalize_rows(real), normalize_rows(generated)
    within = _mean_kernel(x, x, chunk_rows) + _mean_kernel(y, y, chunk_rows)
    return _SCALE * (within - 2 * _mean_kernel(x, y, chunk_rows))


def cmmd_influences(
    *, real: np.ndarray, generated: np.ndarray, chunk_rows: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Return n times what each sample adds to CMMD, to first order, float64 [n], [m].

    It is twice the mean kernel with the sample's own side less that with the other side.
    """
    x, y = normalize_rows(real), normalize_rows(generated)
    of_real, of_generated = (
        np.concatenate(
            [
                _gaussian_kernel(own[i : i + chunk_rows], own).mean(axis=1)
                - _gaussian_kernel(own[i : i + chunk_rows], other).mean(axis=1)
                for i in range(0, len(own), chunk_rows)
            ]
        )
        for own, other in ((x, y), (y, x))
    )
    return 2 * _SCALE * of_real, 2 * _SCALE * of_generated


def _mean_kernel(x: np.ndarray, y: np.ndarray, chunk_rows: int) -> float:
    """Compute the mean kernel of all pairs of rows; float64 [n, d], [m, d]."""
    starts = range(0, len(x), chunk_rows)
    total = sum(_gaussian_kernel(x[i : i + chunk_rows], y).sum() for i in starts)
    return float(total / (len(x) * len(y)))


def _gaussian_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute exp(-|x - y|^2 / (2 sigma^2)); for rows of length 1, |x - y|^2 = 2 - 2 x . y."""
    kernel: np.ndarray = np.exp((x @ y.T - 1) / _SIGMA**2)
    return kernel
