"""The means of scores of images, and of images and their prompts."""

from __future__ import annotations

import numpy as np

from raymetrics import metrics
from raymetrics.errors import RaymetricsError, ShardError
from raymetrics.in_memory.arrays import as_features
from raymetrics.metrics import MeanScore
from raymetrics.statistics import Moments
from raymetrics.statistics.validation import require_comparable_features


def score(*, generated: np.ndarray) -> MeanScore:
    """Compute the mean of scores, real [n], and its standard error.

    ShardError for scores that are not finite, NotEnoughData for none.
    """
    return metrics.mean_score(Moments.from_samples(_column(generated)))


def clipscore(*, generated: np.ndarray, scaling: str = "torchmetrics") -> MeanScore:
    """Compute CLIPScore from the cosines of images and their prompts, real [n].

    scaling: "torchmetrics", max(100 * mean(cos), 0); "hessel", mean(2.5 * max(cos, 0)) of Hessel et
    al. (2021); or "cosine". RaymetricsError for another one, ShardError for cosines that are not
    finite or not in -1..1, NotEnoughData for none.
    """
    if scaling not in metrics.SCALINGS:
        raise RaymetricsError(
            f"scaling of clipscore is {scaling!r}; there are {', '.join(metrics.SCALINGS)}"
        )
    scaled = metrics.scale_cosines(_column(generated), scaling)
    return metrics.clip_score(Moments.from_samples(scaled), scaling)


def aesthetic(*, generated: np.ndarray) -> MeanScore:
    """Compute the mean aesthetic score of embeddings of CLIP ViT-L/14, real [n, 768].

    Reads the head's file of weights, see `raymetrics weights list`. ExtractorError without it,
    ShardError for embeddings that are not finite or of length 0.
    """
    features = as_features(generated)
    require_comparable_features(real=features, generated=features)
    moments = Moments.from_samples(metrics.normalize_rows(features))
    return metrics.aesthetic_score(moments, metrics.load_aesthetic_head())


def _column(values: np.ndarray) -> np.ndarray:
    """Return scores [n] as [n, 1]. ShardError for another shape, and if one is not finite."""
    scores = as_features(values)
    if scores.ndim == 1:
        scores = scores[:, np.newaxis]
    if scores.ndim != 2 or scores.shape[1] != 1:
        raise ShardError(f"scores have shape {list(scores.shape)}, expected [n]")
    require_comparable_features(real=scores, generated=scores)
    return scores
