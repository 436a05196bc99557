"""Inception-V3 as TensorFlow published it on 2015-12-05: the network that FID is defined by.

Images are fed to it as its graph feeds itself: TensorFlow 1's bilinear resize to 299 pixels,
then (x - 128) / 128. Other conventions are options, and other numbers.
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
    """The network with memory but no values: drawing some takes longer than reading a file."""
    with torch.device("meta"):
        network = Inception()
    return network.to_empty(device="cpu")


def scale_pixels(images: Tensor) -> Tensor:
    """0..255 to -1..127/128, as the graph does; (x - 127.5) / 127.5 is not the same."""
    return (images - 128) / 128


ARCHITECTURE = PublishedNetwork(
    name="inception",
    build=build_empty_inception,
    size=299,
    resize="tf1-bilinear",
    scale=scale_pixels,
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
    class_names=class_names.inception_classes,
)
