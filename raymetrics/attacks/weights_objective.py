"""The Frechet distance of weighted candidates to real features, and its gradient.

Kynkaanniemi et al. 2023, Eq. 3, as a function of weights p that sum to 1:

    F(p) = |m - m_r|^2 + tr S_r + tr S - 2 tr (S_r S)^1/2,  m, S: weighted mean, covariance

F is convex, and its gradient has a closed form, so automatic differentiation is not needed. T = L
(L^T S L)^-1/2 L^T with S_r = L L^T is the linear map from N(m, S) to N(m_r, S_r) (Olkin &
Pukelsheim 1982), and

    dF/dp_i = |x_i|^2 - (x_i - m)^T T (x_i - m) + a constant,  x_i = f_i - m_r

A distance with its gradient takes two passes over the features and one eigendecomposition. Both
passes go block by block: `weighted_moments` of blocks merge, `objective_gradient` of blocks
concatenate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np

from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map
from raymetrics.statistics import Moments, WeightedMoments
from raymetrics.statistics.weighted_moments import as_float64, cast_like, to_numpy_float64

# Rows whose products are summed in float32; see `WeightedMoments.from_samples`.
BLOCK = 4096


class Evaluation(NamedTuple):
    """The objective at some weights."""

    distance: float
    weight_gradient: np.ndarray  # float64 [n]: dF/dp_i up to a constant


class ObjectiveEvaluator(Protocol):
    """The objective as a function of weights; implementations decide where to store candidates."""

    @property
    def norms(self) -> np.ndarray:
        """The norms |f_i - m_r|, float64 [n]."""

    def __call__(self, weights: np.ndarray) -> Evaluation:
        """Evaluate the objective. weights: float64 [n], not negative, with a sum of 1."""


class ExactEvaluator(ObjectiveEvaluator, Protocol):
    """An evaluator that can also compute the distance in float64."""

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance alone, with all products in float64; at least 0."""


@dataclass(frozen=True, eq=False)
class TargetGaussian:
    """The Gaussian that the candidates are fitted to, with a factor of its covariance."""

    mean: np.ndarray  # float64 [d]
    trace: float  # of the covariance
    factor: np.ndarray  # float64 [d, r]: covariance = factor factor^T

    @classmethod
    def from_moments(cls, real: Moments | Gaussian, ddof: int = 1) -> TargetGaussian:
        """Fit a Gaussian to real features; the covariance is divided by count - ddof.

        Raise NotEnoughData for ddof samples or fewer.
        """
        fitted = Gaussian.from_moments(real, ddof)
        return cls(
            fitted.mean, float(np.trace(fitted.covariance)), covariance_factor(fitted.covariance)
        )

    def center_features(self, features: np.ndarray, unit: float = 1.0) -> np.ndarray:
        """Compute features / unit - mean, float32 [n, d].

        The difference is taken in float64, block by block.
        """
        out = np.empty(features.shape, np.float32)
        for rows in block_slices(len(features)):
            out[rows] = features[rows] / unit - self.mean
        return out


class OptimalTransport(NamedTuple):
    """The map from weighted candidates to the target, relative to the real mean."""

    distance: float
    mean: np.ndarray  # float64 [d], of the candidates
    root: np.ndarray  # float64 [d, r]: the optimal map is T = root root^T


def compute_transport(
    target: TargetGaussian, moments: WeightedMoments, ddof: float = 0
) -> OptimalTransport:
    """Compute the distance and the optimal map in float64.

    moments: of centered features. ddof: the candidates' covariance is divided by the sum of weights
    less ddof. In directions in which the candidates do not vary, the map is steep but finite.
    """
    mean, covariance = moments.mean, moments.covariance(ddof)
    root, overlap = optimal_map(target.factor, target.trace, covariance)
    distance = float(mean @ mean + target.trace + np.trace(covariance) - 2 * overlap)
    return OptimalTransport(distance, mean, root)


def exact_distance(target: TargetGaussian, moments: WeightedMoments) -> float:
    """Compute the distance; rounding errors below 0 become 0. moments: in float64."""
    return max(compute_transport(target, moments).distance, 0.0)


def weighted_moments(features: Any, weights: np.ndarray, *, exact: bool = False) -> WeightedMoments:
    """Compute the weighted moments of centered features [n, d], block by block.

    features: from numpy or torch. exact: multiply in float64, which takes twice the time. weights:
    float64 [n].
    """
    parts = (
        WeightedMoments.from_samples(
            as_float64(features[rows]) if exact else features[rows], weights[rows]
        )
        for rows in block_slices(len(weights))
    )
    return reduce(WeightedMoments.merge, parts)


def row_norms(features: Any) -> np.ndarray:
    """Compute the norms of rows, float64 [n]; features: centered [n, d], from numpy or torch."""
    parts = (features[rows] for rows in block_slices(len(features)))
    return np.concatenate([np.sqrt(to_numpy_float64((part * part).sum(1))) for part in parts])


def objective_gradient(features: Any, optimal_transport: OptimalTransport) -> np.ndarray:
    """Compute dF/dp_i up to a constant, float64 [n].

    features: centered [n, d], from numpy or torch. Goes block by block; the map is copied to the
    device of the features once.
    """
    mean, root = (
        cast_like(optimal_transport.mean, features),
        cast_like(optimal_transport.root, features),
    )
    parts = [_gradient_of_rows(features[rows], mean, root) for rows in block_slices(len(features))]
    return np.concatenate(parts)


def _gradient_of_rows(features: Any, mean: Any, root: Any) -> np.ndarray:
    """Compute dF/dp_i of one block, with the transport in the block's library and type."""
    moved = (features - mean) @ root
    return to_numpy_float64((features * features).sum(1)) - to_numpy_float64((moved * moved).sum(1))


class InMemoryEvaluator:
    """An evaluator of candidates that fit into memory."""

    def __init__(self, target: TargetGaussian, features: Any) -> None:
        """Store features: float32 [n, d] from `TargetGaussian.center_features`, numpy or torch."""
        self.target, self.features = target, features
        self.norms = row_norms(features)

    def __call__(self, weights: np.ndarray) -> Evaluation:
        optimal_transport = compute_transport(self.target, self.moments(weights))
        return Evaluation(
            optimal_transport.distance, objective_gradient(self.features, optimal_transport)
        )

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance in float64."""
        return exact_distance(self.target, self.moments(weights, exact=True))

    def moments(self, weights: np.ndarray, *, exact: bool = False) -> WeightedMoments:
        """Compute the moments of all candidates.

        The weights are scaled to about 1, because float32 vanishes below 1e-38.
        """
        return weighted_moments(self.features, weights * len(weights), exact=exact)


def block_slices(count: int) -> list[slice]:
    """Return slices of BLOCK rows that cover `count` rows."""
    return [slice(i, min(i + BLOCK, count)) for i in range(0, count, BLOCK)]


def effective_sample_size(weights: np.ndarray) -> float:
    """Compute 1 / sum p_i^2 (Kish 1965): n for equal weights, 1 for a single weight above 0."""
    return float(weights.sum() ** 2 / (weights @ weights))


def duality_gap(weights: np.ndarray, weight_gradient: np.ndarray) -> float:
    """Compute p.h - min h: since F is convex, no weights have a distance below F(p) - gap.

    weights: with a sum of 1. (The gap of Frank and Wolfe 1956; valid, but far from tight.)
    """
    return float(weights @ weight_gradient - weight_gradient.min())
