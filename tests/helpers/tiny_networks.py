"""A small network whose features are the mean of a map, as an extractor called `tiny`, and a
source for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from raymetrics import extractors
from raymetrics.extractors.base import PublishedNetwork

FEATURES, CLASSES, SIZE = 6, 5, 8
USUAL_FEATURES = (0.8, 0.6, 0.8, 0.8, 0.6, 0.4)  # features, about


class TinyNetwork(nn.Module):
    """A network: images float32 [n, 3, 8, 8] -> pre_logits [n, 6], logits [n, 5]; map 3 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, FEATURES, (4, 2), stride=2)
        self.head = nn.Linear(FEATURES, CLASSES)
        self.register_buffer("usual", torch.tensor(USUAL_FEATURES), persistent=False)

    def activations(self, images: Tensor) -> Tensor:
        return self.body(images).relu()

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        pre_logits = activations.mean(dim=(2, 3))
        return {"pre_logits": pre_logits, "logits": self.head(20 * (pre_logits - self.usual))}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))


ARCHITECTURE = PublishedNetwork(
    name="tiny",
    build=TinyNetwork,
    size=SIZE,
    resize="clean",
    scale=lambda images: images / 64 - 2,
    outputs={"pre_logits": FEATURES, "logits": CLASSES},
    columns=("pre_logits", "logits"),
    weights=(),
    class_names=lambda: ("cat", "dog", "owl", "fox", "bow tie"),
)
NAME = "untrained-tiny"
SPOTS = "tests.helpers.tiny_networks:spots"


def spots(sample_ids: np.ndarray) -> np.ndarray:
    """Return images of 3 x 3 colored squares, uint8 [n, 3, 12, 12]."""
    coarse = [np.random.default_rng(k).integers(0, 256, (3, 3, 3), np.uint8) for k in sample_ids]
    return np.stack(coarse).repeat(4, axis=2).repeat(4, axis=3)


@contextmanager
def register_tiny() -> Iterator[None]:
    """Add the extractor `tiny` to raymetrics' own, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "raymetrics.extractors.tiny_networks", sys.modules[__name__])
        patch.setitem(extractors.PUBLISHED_NETWORKS, "tiny", "tiny_networks:ARCHITECTURE")
        yield


def make_tiny(query: str = "", device: str = "cpu") -> extractors.base.NetworkExtractor:
    """Return the extractor with random weights."""
    with register_tiny():
        extractor = extractors.make_extractor(f"{NAME}{query}", torch.device(device))
    assert isinstance(extractor, extractors.base.NetworkExtractor)
    return extractor
