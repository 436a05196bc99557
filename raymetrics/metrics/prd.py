"""Precision and recall of distributions as a curve (Sajjadi et al. 2018)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData

# The curve ends this close to the axes, where the slope is 0 or infinite.
_EDGE = 1e-10


class PRDCurve(NamedTuple):
    """The precision that is possible at each recall, both in 0..1."""

    precision: np.ndarray  # float64 [angles], ascending
    recall: np.ndarray  # float64 [angles], descending


class PRDScores(NamedTuple):
    """The two scores of a curve, both in 0..1."""

    f_8: float  # weighs recall, so it is reported as recall
    f_1_8: float  # weighs precision, so it is reported as precision


def prd_curve(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    clusters: int = 20,
    angles: int = 1001,
    runs: int = 10,
    seed: int = 0,
) -> PRDCurve:
    """Compute the mean curve over `runs` clusterings of both sides together.

    real, generated: real [n, d]. NotEnoughData if the sides differ in size, or have fewer samples
    than clusters.
    """
    require_equal_counts(len(real), len(generated), clusters)
    # The authors' program puts generated samples first; the clusters depend on the order.
    union = np.concatenate([generated, real]).astype(np.float64)
    curves = []
    for run in range(runs):
        labels = _cluster_labels(union, clusters, seed + run)
        generated_labels, real_labels = labels[: len(generated)], labels[len(generated) :]
        curves.append(
            curve_of_histograms(
                np.bincount(real_labels, minlength=clusters) / len(real),
                np.bincount(generated_labels, minlength=clusters) / len(generated),
                angles,
            )
        )
    precision, recall = np.mean(curves, axis=0)
    return PRDCurve(precision, recall)


def require_equal_counts(real: int, generated: int, clusters: int) -> None:
    """Raise NotEnoughData unless both sides have equally many samples, at least one a cluster."""
    if real != generated:
        raise NotEnoughData(
            f"PRD of {real} real and {generated} generated samples: clusters would follow the "
            "larger side, and numbers of other counts would not compare; take "
            f"{min(real, generated)} of each (--samples)"
        )
    if real < clusters:
        raise NotEnoughData(
            f"PRD in {clusters} clusters of {real} samples on each side; it takes at least "
            f"{clusters}: extract more, or ask for fewer clusters"
        )


def _cluster_labels(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Return the cluster of each row, int [n], by mini-batches as in the authors' program.

    features: float64 [n, d].
    """
    # Slow to load, and used only here.
    from sklearn.cluster import MiniBatchKMeans

    # A batch of 100 was the default of the version that the authors used.
    kmeans = MiniBatchKMeans(clusters, n_init=10, batch_size=100, random_state=seed)
    labels: np.ndarray = kmeans.fit(features).labels_
    return labels


def curve_of_histograms(real: np.ndarray, generated: np.ndarray, angles: int = 1001) -> PRDCurve:
    """Compute precision sum min(l P, Q) and recall sum min(P, Q / l) for slopes l (section 3).

    real, generated: P and Q, float64 [clusters], each adding up to 1. l: the tangents of equally
    spaced angles.
    """
    slopes = prd_slopes(angles)
    precision = np.minimum(real * slopes, generated).sum(axis=1)
    recall = np.minimum(real, generated / slopes).sum(axis=1)
    # The shares add up to 1, up to rounding.
    return PRDCurve(precision.clip(max=1), recall.clip(max=1))


def prd_slopes(angles: int) -> np.ndarray:
    """Return the tangents of equally spaced angles, float64 [angles, 1]."""
    return np.tan(np.linspace(_EDGE, np.pi / 2 - _EDGE, angles))[:, None]


def f_beta(curve: PRDCurve, beta: float) -> float:
    """Return the largest (1 + b^2) p r / (b^2 p + r) on the curve, with 0 / 0 as 0."""
    precision, recall = curve
    scores = (1 + beta**2) * precision * recall / (beta**2 * precision + recall + _EDGE)
    return float(scores.max())


def prd_scores(curve: PRDCurve) -> PRDScores:
    """Compute F_8 and F_1/8, the pair that Sajjadi et al. report."""
    return PRDScores(f_beta(curve, 8), f_beta(curve, 1 / 8))
