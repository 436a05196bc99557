"""The aesthetic score of LAION's improved predictor, a head on embeddings of CLIP ViT-L/14.

The head (Schuhmann 2022, improved-aesthetic-predictor, "linearMSE") has five linear layers and no
activations between them, so that it is one linear function of the embedding. Its mean over images
and the error of the mean follow from the moments of the embeddings, scaled to length 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from raymetrics.errors import ExtractorError
from raymetrics.metrics.mean_score import MeanScore, mean_projection
from raymetrics.statistics import Moments
from raymetrics.weights.known_files import AESTHETIC

_LAYERS = ("layers.0", "layers.2", "layers.4", "layers.6", "layers.7")  # between them: dropouts
EMBEDDING_DIMENSION = 768


class AestheticHead(NamedTuple):
    """The head as one linear function, w . x + b, in float64."""

    weights: np.ndarray  # [768]
    bias: float
    file: Mapping[str, object]  # name, SHA-256 and whether it was published


def load_aesthetic_head() -> AestheticHead:
    """Read the head from its file of weights, which is downloaded if it is not on this machine.

    ExtractorError if it cannot be had, or is the file of another network.
    """
    from raymetrics.weights.download import locate_or_download
    from raymetrics.weights.state_dict import read_state

    located = locate_or_download((AESTHETIC,))
    state = {name: tensor.numpy() for name, tensor in read_state(located.path).items()}
    weights, bias = fold_layers(state, str(located.path))
    file = {"head": located.path.name, "head_sha256": located.sha256}
    return AestheticHead(weights, bias, file)


def fold_layers(state: Mapping[str, np.ndarray], where: str) -> tuple[np.ndarray, float]:
    """Fold the five linear layers into the weights, float64 [768], and the bias of one.

    ExtractorError, which names the place `where`, for tensors of another network.
    """
    weights, bias = np.eye(EMBEDDING_DIMENSION), np.zeros(EMBEDDING_DIMENSION)
    try:
        for layer in _LAYERS:
            matrix = state[f"{layer}.weight"].astype(np.float64)
            weights = matrix @ weights
            bias = matrix @ bias + state[f"{layer}.bias"].astype(np.float64)
        return weights.reshape(EMBEDDING_DIMENSION), float(bias.item())
    except (KeyError, ValueError) as error:
        raise ExtractorError(
            f"weights at {where} are not those of the aesthetic head ({error}); give the file "
            f"{AESTHETIC.name}"
        ) from None


def aesthetic_score(normalized_moments: Moments, head: AestheticHead) -> MeanScore:
    """Compute the mean aesthetic score of images and its standard error.

    normalized_moments: of embeddings of CLIP ViT-L/14, scaled to length 1. ExtractorError for
    features of another dimension.
    """
    if normalized_moments.mean.size != EMBEDDING_DIMENSION:
        raise ExtractorError(
            f"the aesthetic head takes {EMBEDDING_DIMENSION} features of clip-vit-l-14, not "
            f"{normalized_moments.mean.size}"
        )
    return mean_projection(normalized_moments, head.weights, head.bias)
