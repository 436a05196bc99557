"""The precision-recall curve by nearest-neighbor classifiers (Sykes, Simon & Rabin 2024; 2025).

A classifier calls a sample real if, among its nearest neighbors in the union of both sides, the
quotient of generated to real ones is below a threshold.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from raymetrics.metrics.prd import PRDCurve, prd_slopes


def default_neighbors(real: int, generated: int) -> int:
    """Return the root of the number of samples of the smaller side, rounded down."""
    return max(1, isqrt(min(real, generated)))


def neighbors_by_side(
    own: np.ndarray, across: np.ndarray, *, counts_itself: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Count a sample's k nearest neighbors in the union that are of its side and of the other one.

    own, across: distances to the k nearest others of its side and to those of the other side,
    float64 [n, k], ascending. Those as far away as the k-th count too. counts_itself: the sample is
    its own nearest neighbor, as in the authors' program; otherwise it is left out.
    """
    k = own.shape[1]
    if counts_itself:
        own = np.column_stack([np.zeros(len(own)), own[:, : k - 1]])
    radii = np.partition(np.concatenate([own, across], axis=1), k - 1, axis=1)[:, k - 1, None]
    return (own <= radii).sum(axis=1), (across <= radii).sum(axis=1)


def curve_of_quotients(real: np.ndarray, generated: np.ndarray, angles: int = 1001) -> PRDCurve:
    """Compute precision min (l FPR + FNR) over all thresholds, and recall, which is that over l.

    real, generated: of each sample the quotient of generated to real neighbors, float64 [n], [m];
    infinite without real ones. FPR: the share of real samples above a threshold; FNR: that of
    generated samples up to it (Simon et al. 2019, Eq. 9). l: the slopes of `curve_of_histograms`.
    """
    thresholds = np.unique(np.concatenate([real, generated]))
    up_to = [
        np.searchsorted(np.sort(side), thresholds, side="right") / len(side)
        for side in (real, generated)
    ]
    # With the classifier that calls nothing real; the last threshold calls all real.
    false_positives = np.concatenate([[1.0], 1 - up_to[0]])
    false_negatives = np.concatenate([[0.0], up_to[1]])
    slopes = prd_slopes(angles)
    precision = (slopes * false_positives + false_negatives).min(axis=1)
    recall = (false_positives + false_negatives / slopes).min(axis=1)
    return PRDCurve(precision, recall)
