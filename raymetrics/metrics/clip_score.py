"""CLIPScore: how well images fit to their prompts, from the cosines of CLIP's embeddings.

A cosine is that of the embedding of an image and the embedding of its prompt. The programs of the
field scale cosines in other ways, each of which has a name here:

    torchmetrics    max(100 * mean(cos), 0), of torchmetrics and papers that use it
    hessel          mean(2.5 * max(cos, 0)), Hessel et al. (2021), Eq. 1
    cosine          mean(cos), of GigaGAN's and DMD2's programs
"""

from __future__ import annotations

import numpy as np

from raymetrics.errors import ShardError
from raymetrics.metrics.mean_score import MeanScore, mean_score
from raymetrics.statistics import Moments

SCALINGS = ("torchmetrics", "hessel", "cosine")
_PERCENT, _HESSEL_WEIGHT = 100.0, 2.5
_ROUNDING = 1e-3  # of cosines of embeddings in half precision


def require_cosines(cosines: np.ndarray) -> np.ndarray:
    """Return cosines, real [n, 1]; ShardError if one lies beyond -1..1, but for rounding."""
    beyond = np.abs(cosines) > 1 + _ROUNDING
    if beyond.any():
        raise ShardError(
            f"{beyond.sum()} of {len(cosines)} cosines lie beyond -1 to 1, the largest is "
            f"{np.abs(cosines).max():.6g}; expected cosines that are not scaled"
        )
    return cosines


def scale_cosines(cosines: np.ndarray, scaling: str) -> np.ndarray:
    """Scale each cosine, real [n, 1], by one of SCALINGS, float64. ShardError for no cosines."""
    values = require_cosines(cosines).astype(np.float64)
    if scaling == "hessel":
        return _HESSEL_WEIGHT * values.clip(min=0)
    return _PERCENT * values if scaling == "torchmetrics" else values


def clip_score(scaled_moments: Moments, scaling: str) -> MeanScore:
    """Compute CLIPScore and its standard error from the moments of scaled cosines [n, 1].

    torchmetrics cuts the mean at 0, Hessel et al. each cosine; the error is that of the mean before
    a cut. Errors as in `mean_score`.
    """
    score = mean_score(scaled_moments)
    return score._replace(mean=max(score.mean, 0.0)) if scaling == "torchmetrics" else score
