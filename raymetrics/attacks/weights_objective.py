"""The Frechet distance of weighted candidates to real features, and its slopes.

Kynkaanniemi et al. 2023, Eq. 3, as a function of weights p that sum to 1:

    F(p) = |m - m_r|^2 + tr S_r + tr S - 2 tr (S_r S)^1/2,  m, S: weighted mean, covariance

It is convex. Its derivative needs no automatic differentiation. T = L (L^T S L)^-1/2 L^T with
S_r = L L^T is the linear map that takes N(m, S) to N(m_r, S_r) (Olkin & Pukelsheim 1982), and

    dF/dp_i = |x_i|^2 - (x_i - m)^T T (x_i - m) + a constant,  x_i = f_i - m_r

So a value with its slopes takes two passes over the features and one eigendecomposition. Both
passes go block by block: `moments` of blocks merge, `slopes` of blocks stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np

from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map
from raymetrics.statistics import Moments, WeightedMoments
from raymetrics.statistics.weighted_moments import as_float64, cast_like, to_numpy_float64

# Rows whose products are added up in float32; see WeightedMoments.of.
BLOCK = 4096


class Evaluation(NamedTuple):
    """The objective at some weights."""

    distance: float
    weight_gradient: np.ndarray  # float64 [n]: dF/dp_i up to a constant


class Evaluator(Protocol):
    """Where the candidates are, and how they are walked, is its own affair."""

    @property
    def norms(self) -> np.ndarray:
        """float64 [n]: |f_i - m_r|."""

    def __call__(self, weights: np.ndarray) -> Evaluation:
        """weights: float64 [n], not negative, with a sum of 1."""


class ExactEvaluator(Evaluator, Protocol):
    """One that can do better than float32."""

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance alone, with all products in float64; at least 0."""


@dataclass(frozen=True, eq=False)
class TargetGaussian:
    """What the candidates are to be like: a Gaussian with a factor of its covariance."""

    mean: np.ndarray  # float64 [d]
    trace: float  # of the covariance
    factor: np.ndarray  # float64 [d, r]: covariance = factor factor^T

    @classmethod
    def from_moments(cls, real: Moments | Gaussian, ddof: int = 1) -> TargetGaussian:
        """The covariance is divided by count - ddof. NotEnoughData for ddof samples or fewer."""
        fitted = Gaussian.from_moments(real, ddof)
        return cls(
            fitted.mean, float(np.trace(fitted.covariance)), covariance_factor(fitted.covariance)
        )

    def center_features(self, features: np.ndarray, unit: float = 1.0) -> np.ndarray:
        """features / unit - mean, float32 [n, d]; the difference is taken in float64, block by
        block."""
        out = np.empty(features.shape, np.float32)
        for rows in block_slices(len(features)):
            out[rows] = features[rows] / unit - self.mean
        return out


class OptimalTransport(NamedTuple):
    """From weighted candidates to the goal, in coordinates whose origin is the real mean."""

    distance: float
    mean: np.ndarray  # float64 [d], of the candidates
    root: np.ndarray  # float64 [d, r]: the optimal map is T = root root^T


def compute_transport(
    target: TargetGaussian, moments: WeightedMoments, ddof: float = 0
) -> OptimalTransport:
    """The distance and the map, in float64. moments: of centred features.

    ddof: the candidates' covariance is divided by the sum of weights less ddof. Directions in
    which the candidates do not vary get a steep map, but a finite one.
    """
    mean, covariance = moments.mean, moments.covariance(ddof)
    root, overlap = optimal_map(target.factor, target.trace, covariance)
    distance = float(mean @ mean + target.trace + np.trace(covariance) - 2 * overlap)
    return OptimalTransport(distance, mean, root)


def exact_distance(target: TargetGaussian, moments: WeightedMoments) -> float:
    """Compute the distance; what rounding errors leave below 0 is 0. moments: in float64."""
    return max(compute_transport(target, moments).distance, 0.0)


def weighted_moments(features: Any, weights: np.ndarray, *, exact: bool = False) -> WeightedMoments:
    """Sum up the weighted moments of features, centred [n, d], of numpy or torch, block by block;
    exact: with products in float64, of twice the time. weights: float64 [n]."""
    parts = (
        WeightedMoments.from_samples(
            as_float64(features[rows]) if exact else features[rows], weights[rows]
        )
        for rows in block_slices(len(weights))
    )
    return reduce(WeightedMoments.merge, parts)


def row_norms(features: Any) -> np.ndarray:
    """float64 [n]: the norms of rows; features: centred [n, d], of numpy or torch."""
    parts = (features[rows] for rows in block_slices(len(features)))
    return np.concatenate([np.sqrt(to_numpy_float64((part * part).sum(1))) for part in parts])


def objective_gradient(features: Any, optimal_transport: OptimalTransport) -> np.ndarray:
    """dF/dp_i up to a constant, float64 [n]; features: centred [n, d], of numpy or torch.

    Block by block; the map goes to the device of the features once.
    """
    mean, root = (
        cast_like(optimal_transport.mean, features),
        cast_like(optimal_transport.root, features),
    )
    parts = [_gradient_of_rows(features[rows], mean, root) for rows in block_slices(len(features))]
    return np.concatenate(parts)


def _gradient_of_rows(features: Any, mean: Any, root: Any) -> np.ndarray:
    """The same of a block, with the transport in its library and type."""
    moved = (features - mean) @ root
    return to_numpy_float64((features * features).sum(1)) - to_numpy_float64((moved * moved).sum(1))


class InMemoryEvaluator:
    """An evaluator of candidates that fit into memory, once."""

    def __init__(self, target: TargetGaussian, features: Any) -> None:
        """features: centred float32 [n, d] (`Goal.centred`), a numpy array or a torch tensor."""
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
        """Of all candidates. The weights are scaled to about 1: float32 ends at 1e-38."""
        return weighted_moments(self.features, weights * len(weights), exact=exact)


def block_slices(count: int) -> list[slice]:
    """Slices of BLOCK rows."""
    return [slice(i, min(i + BLOCK, count)) for i in range(0, count, BLOCK)]


def effective_sample_size(weights: np.ndarray) -> float:
    """1 / sum p_i^2 (Kish 1965): n for equal weights, 1 for one sample alone."""
    return float(weights.sum() ** 2 / (weights @ weights))


def duality_gap(weights: np.ndarray, weight_gradient: np.ndarray) -> float:
    """No weights have a distance below F(p) - gap, since F is convex: p.h - min h.

    weights: with a sum of 1. (The gap of Frank and Wolfe 1956. True, but far from tight.)
    """
    return float(weights @ weight_gradient - weight_gradient.min())
