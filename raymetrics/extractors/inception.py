"""Extract features with TensorFlow's Inception-V3 of 2015-12-05, the network that defines FID.

Images are prepared as inside the network's TensorFlow graph: TensorFlow 1's bilinear resize to
299 x 299 pixels, then (x - 128) / 128. Other resize conventions are options and give other numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from raymetrics.extractors import class_names
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.inception_network import CLASSES, FEATURES, SPATIAL_FEATURES, Inception
from raymetrics.extractors.inception_weights import read_inception
from raymetrics.weights.known_files import INCEPTION


def build_empty_inception() -> Inception:
    """Build the network with unset weights: drawing some takes longer than reading a file."""
    with torch.device("meta"):
        network = Inception()
    return network.to_empty(device="cpu")


def _scale_pixels(images: Tensor) -> Tensor:
    """Scale pixels from 0..255 to -1..127/128 as the graph does, by (x - 128) / 128.

    The common (x - 127.5) / 127.5 gives other features.
    """
    return (images - 128) / 128


ARCHITECTURE = PublishedNetwork(
    name="inception",
    build=build_empty_inception,
    size=299,
    resize="tf1-bilinear",
    scale=_scale_pixels,
    outputs={
        "pre_logits": FEATURES,
        "logits": CLASSES,
        "logits_unbiased": CLASSES,
        "spatial": SPATIAL_FEATURES,
    },
    columns=("pre_logits", "logits"),
    weights=INCEPTION,
    read=read_inception,
    finish=Inception.fuse,
    float32_layers=("fc",),
    class_names=class_names.inception_classes,
)
