"""Reweighting of two arrays of features, without shards and without a cluster."""

from __future__ import annotations

from functools import reduce

import numpy as np

from raymetrics.attacks.gradient_descent import COVARIANCES, descend, paper_loss, program_loss
from raymetrics.attacks.matched_features import MatchTarget, match_arrays
from raymetrics.attacks.weights_objective import InMemoryEvaluator, TargetGaussian, block_slices
from raymetrics.attacks.weights_optimizer import (
    OptimizedWeights,
    minimize_distance,
    with_exact_distance,
)
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.statistics import Moments
from raymetrics.statistics.validation import require_comparable_features

OPTIMIZERS = ("lbfgs", "gd")
_COMFORTABLE_DISTANCE = 1e6  # between features; the square of 1e19 exceeds float32
_MAX_DISTANCE = 1e140


def reweight(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    match: str = "pre_logits",
    max_evaluations: int = 100,
    tolerance: float = 1e-3,
    optimizer: str = "lbfgs",
    learning_rate: float | None = None,
    covariance: str = "paper",
    ddof: int = 1,
) -> OptimizedWeights:
    """Compute weights of generated samples that minimize the Frechet distance to real samples.

    Kynkaanniemi et al. 2023, Eq. 3: an attack on FID, which falls by half and more while the
    samples stay the same. real, generated: real [n, d] and [m, d]; logits if `match` is made from
    logits. ddof: of the real covariance; the weighted covariance is divided by the sum of weights.
    optimizer: "lbfgs" (see `minimize_distance`), or "gd", the paper's gradient descent, which takes
    max_evaluations - 1 steps whatever the tolerance, by default with the paper's learning rate.
    covariance: "program" divides the weighted covariance by the sum of weights less 1, as the
    paper's program does; of "gd" alone.

    The real mean is subtracted from the features in float64, so the mean may be arbitrarily large;
    all later steps take float32, and the distance of the result is computed in float64. Constant
    columns are allowed. If a column is constant with a different value on each side, the distance
    cannot fall below the square of the difference.

    Raise ShardError for features that are not comparable, not finite or cannot be matched in this
    way, NotEnoughData for fewer than ddof + 1 real samples, no candidates or no evaluations,
    RaymetricsError for an unknown match, optimizer or covariance.
    """
    require_optimizer(optimizer, covariance)
    candidate_ddof = COVARIANCES[covariance]
    require_comparable_features(real=real, generated=generated)
    _require_enough(len(real), len(generated), max_evaluations, ddof, candidate_ddof)
    match_target = MatchTarget.parse(match)
    real, generated = match_arrays(match_target, real=real, generated=generated)
    unit = _choose_unit(real, generated)
    target = TargetGaussian.from_moments(_blockwise_moments(real, unit), ddof, candidate_ddof)
    evaluate = InMemoryEvaluator(target, target.center_features(generated, unit))
    if optimizer == "lbfgs":
        optimized = minimize_distance(
            evaluate, max_evaluations=max_evaluations, tolerance=tolerance
        )
    else:
        rate = match_target.learning_rate if learning_rate is None else learning_rate
        optimized = descend(
            program_loss(evaluate) if candidate_ddof else paper_loss(evaluate),
            len(generated),
            max_evaluations=max_evaluations,
            learning_rate=rate * unit**2,
        )
    if not candidate_ddof:  # the program's distance depends on the sum of e^w too
        optimized = with_exact_distance(optimized, evaluate)
    return optimized.restore_unit(unit)


def require_optimizer(optimizer: str, covariance: str) -> None:
    """Raise RaymetricsError for an unknown optimizer or covariance, or two that do not fit."""
    if optimizer not in OPTIMIZERS:
        raise RaymetricsError(f"no optimizer {optimizer!r}; there are {', '.join(OPTIMIZERS)}")
    if covariance not in COVARIANCES:
        raise RaymetricsError(f"no covariance {covariance!r}; there are {', '.join(COVARIANCES)}")
    if covariance == "program" and optimizer != "gd":
        raise RaymetricsError(
            "the program's covariance depends on the sum of weights, which only gradient descent "
            "keeps; ask for the optimizer gd, or for the paper's covariance"
        )


def _require_enough(
    real: int, generated: int, evaluations: int, ddof: int, candidate_ddof: int
) -> None:
    """Raise NotEnoughData for too few samples or evaluations."""
    if real <= ddof:
        raise NotEnoughData(f"{real} real samples; a covariance takes at least {ddof + 1}")
    if generated <= candidate_ddof:
        raise NotEnoughData(
            f"{generated or 'no'} candidates to weigh; give at least {candidate_ddof + 1} "
            f"generated sample{'s' if candidate_ddof else ''}"
        )
    if evaluations < 1:
        raise NotEnoughData(f"max_evaluations is {evaluations}; ask for at least 1")


def _blockwise_moments(features: np.ndarray, unit: float) -> Moments:
    """Compute moments of features / unit, block by block so that temporary memory stays small."""
    parts = (Moments.from_samples(features[rows] / unit) for rows in block_slices(len(features)))
    return reduce(Moments.merge, parts)


def _choose_unit(real: np.ndarray, generated: np.ndarray) -> float:
    """Choose the unit in which squares and products stay within float32: 1, or a power of two.

    The unit is usually 1. Raise ShardError for features whose squares exceed float64.
    """
    origin = real[0].astype(np.float64)
    with np.errstate(over="ignore"):  # the check below sees an overflow
        largest = max(
            float(np.abs(features[rows] - origin).max(initial=0))
            for features in (real, generated)
            for rows in block_slices(len(features))
        )
    if largest > _MAX_DISTANCE:
        raise ShardError(
            f"features lie {largest:.3g} apart, whose square is more than float64 holds; expected "
            f"less than {_MAX_DISTANCE:g}, so divide both sides by the same number"
        )
    return (
        1.0
        if largest == 0 or 1 / _COMFORTABLE_DISTANCE < largest < _COMFORTABLE_DISTANCE
        else 2.0 ** round(np.log2(largest))
    )
