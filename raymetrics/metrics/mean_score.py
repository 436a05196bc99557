"""The mean of a score of images, with its standard error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData, ShardError
from raymetrics.statistics import Moments


class MeanScore(NamedTuple):
    """The mean of scores, and the standard error of the mean; None for a single score."""

    mean: float
    standard_error: float | None


def mean_score(moments: Moments) -> MeanScore:
    """Compute the mean of scores and its standard error, s / sqrt(n) with s^2 by n - 1.

    moments: of scores [n, 1]. NotEnoughData for no scores, ShardError for more dimensions than 1.
    """
    if moments.mean.size != 1:
        raise ShardError(f"scores have {moments.mean.size} dimensions, expected 1")
    return mean_projection(moments, np.ones(1), 0.0)


def mean_projection(moments: Moments, weights: np.ndarray, bias: float) -> MeanScore:
    """Compute the mean of w . x + b over features x, and its standard error.

    Both follow from the moments of x: w . mean + b, and sqrt(w^T S w / n) with the covariance S by
    n - 1. weights: float64 [d]. NotEnoughData for no features.
    """
    if not moments.count:
        raise NotEnoughData("the mean of no scores; it takes at least 1")
    mean = float(moments.mean @ weights + bias)
    if moments.count == 1:
        return MeanScore(mean, None)
    variance = float(weights @ moments.covariance() @ weights)
    return MeanScore(mean, float(np.sqrt(max(variance, 0.0) / moments.count)))
