"""Influences: n times what one sample adds to a number, to first order, for intervals.

Each is a function of a block of samples, sent to the tasks that read the shards, as statistics are.
What all influences of a side have in common is of no importance: they are centered later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import eigh, solve_triangular
from scipy.special import log_softmax, softmax

from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map, overlap_spectrum
from raymetrics.metrics.inception_score import scores_by_split
from raymetrics.metrics.unit_length import normalize_rows
from raymetrics.metrics.vendi import uncentered_second_moment
from raymetrics.statistics import ClassScores, FeatureRows, Histogram, Moments

Transform = Callable[[np.ndarray], np.ndarray]


def unchanged(values: np.ndarray) -> np.ndarray:
    """Return the features."""
    return values


def class_shares(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits, float64 [n, classes]."""
    probabilities: np.ndarray = softmax(logits.astype(np.float64), axis=1)
    return probabilities


@dataclass(frozen=True, eq=False)
class QuadraticInfluence:
    """u . linear + |u|^2 squared - |u root|^2, where u = transform(x) - mean.

    The products with the root are computed in the precision of the features: an error of a standard
    error in its seventh digit is none.
    """

    mean: np.ndarray  # float64 [d]
    linear: np.ndarray  # float64 [d]
    squared: float
    root: np.ndarray  # float64 [d, r]
    transform: Transform = unchanged

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> np.ndarray:
        x = self.transform(values)
        apart = x - self.mean
        lengths = np.einsum("nd,nd->n", apart, apart)
        root = self.root.astype(x.dtype)
        moved = (apart.astype(x.dtype) @ root).astype(np.float64)
        influences: np.ndarray = apart @ self.linear + self.squared * lengths
        return influences - np.einsum("nr,nr->n", moved, moved)

    def scale(self, factor: float) -> QuadraticInfluence:
        """Return the influence on the number times a factor of at least 0."""
        return replace(
            self,
            linear=factor * self.linear,
            squared=factor * self.squared,
            root=factor**0.5 * self.root,
        )


def linear_influence(weights: np.ndarray, transform: Transform = unchanged) -> QuadraticInfluence:
    """Return the influence on the mean of weights . transform(x); weights: float64 [d]."""
    zeros = np.zeros_like(weights)
    return QuadraticInfluence(zeros, weights, 0.0, np.empty((len(weights), 0)), transform)


def frechet_influences(
    *,
    real: Moments | Gaussian,
    generated: Moments | Gaussian,
    ddof: int = 1,
    transform: Transform = unchanged,
) -> dict[str, QuadraticInfluence]:
    """Return the influences on the Frechet distance, of each side that has samples.

    The derivative of |m - m'|^2 + tr (S + S' - 2 (S S')^1/2) by m is 2 (m - m'), and by S it is
    I - T with T the optimal map to the other side (Olkin & Pukelsheim 1982). So a sample x adds
    2 (m - m').u + u^T (I - T) u for u = x - m, over the number of samples.
    """
    moments = {"real": real, "generated": generated}
    a, b = (Gaussian.from_moments(side, ddof) for side in moments.values())
    roots = dict(zip(moments, _optimal_roots(a.covariance, b.covariance), strict=True))
    shift = 2 * (a.mean - b.mean)
    linear = {"real": shift, "generated": -shift}
    return {
        side: QuadraticInfluence(part.mean, linear[side], 1.0, roots[side], transform)
        for side, part in moments.items()
        if isinstance(part, Moments)
    }


def _optimal_roots(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return R with R R^T = T, for the optimal map T from a to b, and for that from b to a.

    With a = L L^T and L^T b L = V E V^T the second is L V E^-1/4, and the first L^-T V E^1/4.
    """
    factor, trace = covariance_factor(a), float(np.trace(a))
    if factor.shape[1] < len(a):
        back = optimal_map(covariance_factor(b), float(np.trace(b)), a).root
        return back, optimal_map(factor, trace, b).root
    spectrum = overlap_spectrum(factor, trace, b)
    forth = solve_triangular(factor, spectrum.vectors, lower=True, trans="T")
    return forth * spectrum.values**0.25, (factor @ spectrum.vectors) * spectrum.guarded**-0.25


def vendi_influence(
    normalized_moments: Moments, score: float, order: float = 1.0
) -> QuadraticInfluence:
    """Return the influence on the Vendi score of an order q above 0 and below infinity.

    With the eigenvalues p of M = X^T X / n, the derivative of the score by M has the eigenvalues
    w = score q / (1 - q) p^(q - 1) / sum p^q, and for q = 1 w = -score log p. So a row x of length
    1 adds x^T W x, which is c |x|^2 - x^T (c - W) x for any c.
    """
    values, vectors = eigh(uncentered_second_moment(normalized_moments))
    kept = values > len(values) * np.finfo(np.float64).eps
    values, vectors = values[kept], vectors[:, kept]
    if order == 1:
        weights = -score * np.log(values)
    else:
        weights = score * order / (1 - order) * values ** (order - 1) / (values**order).sum()
    c = float(weights.max())
    zeros = np.zeros_like(normalized_moments.mean)
    return QuadraticInfluence(zeros, zeros, c, vectors * np.sqrt(c - weights), normalize_rows)


@dataclass(frozen=True, eq=False)
class Top1Influence:
    """The influence on a number whose derivative by the share of each class is known."""

    slopes: np.ndarray  # float64 [classes]

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> np.ndarray:
        slopes: np.ndarray = self.slopes[values.argmax(axis=1)]
        return slopes


def top1_influences(*, real: Histogram, generated: Histogram) -> dict[str, Top1Influence]:
    """Return the influences on the total variation of two histograms, sum |p - q| / 2."""
    signs = np.sign(real.shares - generated.shares) / 2
    return {"real": Top1Influence(signs), "generated": Top1Influence(-signs)}


@dataclass(frozen=True, eq=False)
class InceptionInfluence:
    """The influence on the Inception Score: of a sample of split s, IS_s KL(p(y|x) || p_s(y)).

    Times the number of samples over splits and the samples of the split, as the score is a mean.
    """

    ids: np.ndarray  # int64 [n], ascending
    splits: np.ndarray  # int64 [n]
    log_shares: np.ndarray  # float64 [splits, classes]: log p_s(y)
    scores: np.ndarray  # float64 [splits]: IS_s
    mean_divergences: np.ndarray  # float64 [splits]: log IS_s
    weights: np.ndarray  # float64 [splits]

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> np.ndarray:
        splits = self.splits[np.searchsorted(self.ids, sample_ids)]
        log_p = log_softmax(values.astype(np.float64), axis=1)
        divergences = (np.exp(log_p) * (log_p - self.log_shares[splits])).sum(axis=1)
        apart = divergences - self.mean_divergences[splits]
        influences: np.ndarray = self.weights[splits] * self.scores[splits] * apart
        return influences


def inception_influence(
    scores: ClassScores, ids: np.ndarray, splits: np.ndarray
) -> InceptionInfluence:
    """Return the influence on the Inception Score; ids, splits: int64 [n], the split of each id."""
    by_split = scores_by_split(scores)
    shares = scores.probabilities / scores.counts[:, None]
    weights = scores.counts.sum() / scores.counts / len(scores.counts)
    log_shares = np.log(shares.clip(min=np.finfo(np.float64).tiny))
    return InceptionInfluence(ids, splits, log_shares, by_split, np.log(by_split), weights)


Influence = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (ids [n], values [n, d]) -> [n]


@dataclass(frozen=True, eq=False)
class InfluenceRows:
    """The influence of each sample of a block, as a statistic: rows float64 [n, 1] by id."""

    influence: Influence

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> FeatureRows:
        return influence_rows(sample_ids, self.influence(sample_ids, values))

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of an id and a number for every row."""
        return 16 * rows


Influences = Mapping[str, Influence | FeatureRows]  # by side; rows are those of a sample each


def influence_rows(sample_ids: np.ndarray, influences: np.ndarray) -> FeatureRows:
    """Return influences that are known, float64 [n], as rows float64 [n, 1] by id."""
    return FeatureRows.from_samples(sample_ids, influences[:, None])
