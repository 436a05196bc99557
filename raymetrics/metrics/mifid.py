"""MiFID (Bai et al. 2021, arXiv 2106.03062): a Frechet distance that copies make larger.

The distance is divided by the memorization distance: how far a sample is, in cosines, from its
nearest neighbor on the other side.
"""

from __future__ import annotations

import numpy as np

from raymetrics.errors import ShardError
from raymetrics.metrics.pair_tiles import map_tiles
from raymetrics.metrics.unit_length import normalize_rows

THRESHOLD = 0.1  # of the competition's program: a larger memorization distance counts as 1
_SMALLEST_DISTANCE = 1e-8  # below which MiFID is 0
_GUARD = 1e-14  # added to the memorization distance, which is 0 for copies


def mifid(distance: float, memorization: float, threshold: float = THRESHOLD) -> float:
    """Divide a Frechet distance by the memorization distance, or by 1 if that is no small one."""
    if distance <= _SMALLEST_DISTANCE:
        return 0.0
    return distance / ((memorization if memorization < threshold else 1.0) + _GUARD)


def memorization_distance(samples: np.ndarray, references: np.ndarray) -> float:
    """Compute the mean over samples of the smallest 1 - |cos| to a reference (Eq. 3).

    samples, references: float32 [n, d], [m, d]. Rows that sum to 0 are left out, as in the programs
    of the competition and of torchmetrics. ShardError if a side has no other rows.
    """
    return float(1 - largest_cosines(_nonzero(samples), _nonzero(references)).mean())


def _nonzero(features: np.ndarray) -> np.ndarray:
    """Return the rows that do not sum to 0. ShardError if there are none."""
    nonzero = features.sum(axis=1, dtype=np.float64) != 0
    if not nonzero.any():
        raise ShardError(
            f"all {len(features)} rows of features sum to 0, so that they have no cosine; extract "
            "them again"
        )
    return features if nonzero.all() else features[nonzero]


def largest_cosines(samples: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Find the largest |cos| of each sample with any reference, float64 [n], at most 1.

    samples, references: float32 [n, d], [m, d], no row of zeros. Computed in float64, tile by tile.
    """

    def compute(rows: slice, columns: slice) -> tuple[slice, np.ndarray]:
        cosines = normalize_rows(samples[rows]) @ normalize_rows(references[columns]).T
        return rows, np.abs(cosines, out=cosines).max(axis=1)

    largest = np.zeros(len(samples))
    for rows, found in map_tiles(compute, len(samples), len(references)):
        np.maximum(largest[rows], found, out=largest[rows])
    return largest.clip(max=1)
