"""The published networks, with transformers of one or two blocks, and with random weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from raymetrics.extractors import (
    PUBLISHED_NETWORKS,
    base,
    clip,
    convnextv2,
    dinov2,
    published_network,
    timm_transformers,
)
from raymetrics.extractors.base import NetworkExtractor, PublishedNetwork, build_extractor
from raymetrics.extractors.options import Options

# Without those that differ from another only in the size or the resize of images.
DISTINCT_NETWORKS = tuple(
    name for name in PUBLISHED_NETWORKS if name not in ("resnet50-v1", "sscd-disc-mixup-320")
)


def shallow(name: str, layers: int = 1) -> PublishedNetwork:
    """Return the published network of this name, a transformer with this number of blocks."""
    a = published_network(name)
    if name in clip.SHAPES:
        shape = replace(clip.SHAPES[name], layers=layers)
        return replace(a, build=lambda: clip.Clip(shape))
    if name in dinov2.TIMM_NETWORKS:
        return replace(a, build=partial(dinov2.DinoV2, dinov2.TIMM_NETWORKS[name][0], depth=layers))
    if name in timm_transformers.SPACES:
        return replace(a, build=partial(timm_transformers.SPACES[name].build, depth=layers))
    if name == "convnextv2-base":
        return replace(a, build=partial(convnextv2.ConvNextV2, depths=[layers] * 4))
    return a


def build_shallow(name: str, query: str, device: torch.device, layers: int = 1) -> NetworkExtractor:
    """Build its extractor with random weights and options, such as "precision=tf32"."""
    options = Options.parse(f"untrained-{name}?{query}" if query else f"untrained-{name}")
    return build_extractor(shallow(name, layers), options, device)


def leave_weights_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no weights, for tests of types and devices: numbers of large networks take long."""
    monkeypatch.setattr(base, "draw_random_weights", lambda network, seed: network.state_dict())
    monkeypatch.setattr(base, "state_digest", lambda state: "0" * 64)
