"""The Frechet distance of weighted candidates to real features, and its gradient.

Kynkaanniemi et al. 2023, Eq. 3, as a function of weights p that sum to 1:

    F(p) = |m - m_r|^2 + tr S_r + tr S - 2 tr (S_r S)^1/2,  m, S: weighted mean, covariance

The paper divides S by the sum of weights, its program by the sum less 1: see `candidate_ddof`. F is
convex, and its gradient has a closed form, so automatic differentiation is not needed. T = L
(L^T S L)^-1/2 L^T with S_r = L L^T is the linear map from N(m, S) to N(m_r, S_r) (Olkin &
Pukelsheim 1982), and

    dF/dp_i = |x_i|^2 - (x_i - m)^T T (x_i - m) + a constant,  x_i = f_i - m_r

A distance with its gradient takes two passes over the features and one eigendecomposition. Both
passes go block by block: `weighted_moments` of blocks merge, `objective_gradient` of blocks
concatenate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np

from raymetrics.metrics.frechet import Gaussian, covariance_factor, optimal_map
from raymetrics.statistics import Moments, WeightedMoments
from raymetrics.statistics.processors import (
    as_float64,
    cast_like,
    empty_vector,
    has_fast_float64,
    to_numpy_float64,
)

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
    factor: Any  # float64 [d, r], of numpy or torch: covariance = factor factor^T
    candidate_ddof: int = 0  # the candidates' covariance is divided by the sum of weights less this

    @classmethod
    def from_moments(
        cls, real: Moments | Gaussian, ddof: int = 1, candidate_ddof: int = 0
    ) -> TargetGaussian:
        """Fit a Gaussian to real features; the covariance is divided by count - ddof.

        Raise NotEnoughData for ddof samples or fewer.
        """
        fitted = Gaussian.from_moments(real, ddof)
        trace, factor = np.trace(fitted.covariance), covariance_factor(fitted.covariance)
        return cls(fitted.mean, float(trace), factor, candidate_ddof)

    def on_device_of(self, features: Any) -> TargetGaussian:
        """Return the target with its factor in the library and on the device of features."""
        return replace(self, factor=cast_like(self.factor, as_float64(features[:0])))

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
    mean: Any  # float64 [d], of the candidates
    root: Any  # float64 [d, r]: the optimal map is T = root root^T
    excess: float = 1.0  # the sum of weights, divided by itself less `candidate_ddof`

    def to_numpy(self) -> OptimalTransport:
        """Return the map as arrays of numpy."""
        return self._replace(mean=to_numpy_float64(self.mean), root=to_numpy_float64(self.root))


def compute_transport(target: TargetGaussian, moments: WeightedMoments) -> OptimalTransport:
    """Compute the distance and the optimal map in float64.

    moments: of centered features, in the library and on the device of the target's factor, which
    computes. In directions in which the candidates do not vary, the map is steep but finite.
    """
    ddof = target.candidate_ddof
    mean, covariance = moments.mean, moments.covariance(ddof)
    root, overlap = optimal_map(target.factor, target.trace, covariance)
    distance = mean @ mean + target.trace + covariance.trace() - 2 * overlap
    excess = moments.weight / (moments.weight - ddof)
    return OptimalTransport(float(to_numpy_float64(distance)), mean, root, excess)


def weighted_moments(features: Any, weights: np.ndarray, *, exact: bool = False) -> WeightedMoments:
    """Compute the weighted moments of centered features [n, d], block by block.

    features: from numpy or torch; a tensor's moments stay on its device. exact: multiply in
    float64, which takes twice the time, and is done in any case where it does not; see
    `has_fast_float64`. weights: float64 [n].
    """
    convert = as_float64 if exact or has_fast_float64(features.device) else _unchanged
    parts = (
        WeightedMoments.from_samples(convert(features[rows]), weights[rows])
        for rows in block_slices(len(weights))
    )
    return reduce(WeightedMoments.merge, parts)


def row_norms(features: Any) -> np.ndarray:
    """Compute the norms of rows, float64 [n]; features: centered [n, d], from numpy or torch."""
    return np.sqrt(_map_rows(features, lambda block: (block * block).sum(1)))


def objective_gradient(features: Any, optimal_transport: OptimalTransport) -> np.ndarray:
    """Compute dF/dp_i up to a constant, float64 [n]; see `program_loss` for another covariance.

    features: centered [n, d], from numpy or torch. Goes block by block, in float64 where that costs
    no time; the map is copied to the device of the features once.
    """
    convert = as_float64 if has_fast_float64(features.device) else _unchanged
    like, excess = convert(features[:0]), optimal_transport.excess
    mean, root = (
        cast_like(part, like) for part in (optimal_transport.mean, optimal_transport.root)
    )

    def gradient_of_rows(block: Any) -> Any:
        block = convert(block)
        moved = (block - mean) @ root
        return as_float64((block * block).sum(1)) - as_float64((moved * moved).sum(1))

    def gradient_with_excess(block: Any) -> Any:
        y = convert(block) - mean
        moved = y @ root
        bend = as_float64((y * y).sum(1)) - as_float64((moved * moved).sum(1))
        return 2 * as_float64(y @ mean) + excess * bend

    return _map_rows(features, gradient_of_rows if excess == 1 else gradient_with_excess)


def _unchanged(block: Any) -> Any:
    return block


def _map_rows(features: Any, function: Callable[[Any], Any]) -> np.ndarray:
    """Compute a number for every row, block by block, float64 [n]; a device sends one copy."""
    out = empty_vector(len(features), features)
    for rows in block_slices(len(features)):
        out[rows] = function(features[rows])
    return to_numpy_float64(out)


class InMemoryEvaluator:
    """An evaluator of candidates that fit into memory."""

    def __init__(self, target: TargetGaussian, features: Any) -> None:
        """Store features: float32 [n, d] from `TargetGaussian.center_features`, numpy or torch."""
        self.target, self.features = target.on_device_of(features), features
        self.norms = row_norms(features)

    def __call__(self, weights: np.ndarray) -> Evaluation:
        optimal_transport = compute_transport(self.target, self.moments(weights))
        return Evaluation(
            optimal_transport.distance, objective_gradient(self.features, optimal_transport)
        )

    def exact_distance(self, weights: np.ndarray) -> float:
        """Compute the distance in float64; rounding errors below 0 become 0."""
        return max(compute_transport(self.target, self.moments(weights, exact=True)).distance, 0.0)

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
