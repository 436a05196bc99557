"""DINOv2 (Oquab et al. 2024): a vision transformer that learned from images alone.

Stein et al. (2023) recommend it for Fréchet distances, FD-DINOv2. Features are the class token
after the last norm. The network is timm's; Meta's files and timm's are both read.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, cat, nn
from torch.nn.functional import interpolate

from raymetrics.extractors.base import Architecture
from raymetrics.extractors.build_networks import network_of
from raymetrics.extractors.pixel_scaling import imagenet
from raymetrics.weights.known_files import DINOV2
from raymetrics.weights.state_dict import State

SIZE = 224
GRID = 16  # patches of 14 pixels along a side

# timm's name, and the number of features
NETWORKS = {
    "dinov2-vit-s-14": ("vit_small_patch14_dinov2", 384),
    "dinov2-vit-b-14": ("vit_base_patch14_dinov2", 768),
    "dinov2-vit-l-14": ("vit_large_patch14_dinov2", 1024),
    "dinov2-vit-g-14": ("vit_giant_patch14_dinov2", 1536),
}


class DinoV2(nn.Module):
    """Images float32 [n, 3, 224, 224] -> features [n, d]."""

    def __init__(self, name: str, **shape: int) -> None:
        super().__init__()
        self.body: Any = network_of(
            "timm",
            "timm",
            lambda timm: timm.create_model(name, img_size=SIZE, num_classes=0, **shape),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": self.body.forward_features(images)[:, 0]}


def position_embedding(there: Tensor) -> Tensor:
    """[1, 1 + g * g, d] for the class token and g x g patches -> [1, 1 + 16 * 16, d].

    As Meta's program has it: bicubic without antialiasing, by a ratio of (16 + 0.1) / g.
    """
    grid = round((there.shape[1] - 1) ** 0.5)
    if grid == GRID:
        return there
    patches = there[:, 1:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
    ratio = (GRID + 0.1) / grid
    resized = interpolate(patches, scale_factor=(ratio, ratio), mode="bicubic")
    return cat([there[:, :1], resized.flatten(2).mT], 1)


def translated(state: State) -> State:
    """Meta's names, or timm's, -> ours; Meta's file has a token that only training uses."""
    own = {}
    for name, value in state.items():
        if name == "pos_embed":
            own["body.pos_embed"] = position_embedding(value)
        elif name != "mask_token":
            renamed = re.sub(r"mlp\.w12\b", "mlp.fc1", re.sub(r"mlp\.w3\b", "mlp.fc2", name))
            own[f"body.{renamed}"] = value
    return own


def architecture(name: str) -> Architecture:
    """A row of NETWORKS."""
    theirs, features = NETWORKS[name]
    return Architecture(
        name=name,
        build=lambda: DinoV2(theirs),
        size=SIZE,
        resize="pillow-bicubic",
        scale=imagenet,
        outputs={"features": features},
        columns=("features",),
        weights=DINOV2[name],
        translate=translated,
    )


VIT_S_14 = architecture("dinov2-vit-s-14")
VIT_B_14 = architecture("dinov2-vit-b-14")
VIT_L_14 = architecture("dinov2-vit-l-14")
VIT_G_14 = architecture("dinov2-vit-g-14")
