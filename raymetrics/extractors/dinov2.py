"""Extract features with DINOv2 (Oquab et al. 2024), vision transformers trained without labels.

Stein et al. (2023) recommend DINOv2 for Fréchet distances (FD-DINOv2). Features are the class token
after the last norm. The network is timm's; its weights may come from Meta's files or timm's.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, cat, nn
from torch.nn.functional import interpolate

from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import build_empty_timm_network
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.weights.known_files import DINOV2
from raymetrics.weights.state_dict import StateDict

_SIZE = 224
_GRID = 16  # patches of 14 pixels along a side

# By name: timm's name of the network, and the number of features.
TIMM_NETWORKS = {
    "dinov2-vit-s-14": ("vit_small_patch14_dinov2", 384),
    "dinov2-vit-b-14": ("vit_base_patch14_dinov2", 768),
    "dinov2-vit-l-14": ("vit_large_patch14_dinov2", 1024),
    "dinov2-vit-g-14": ("vit_giant_patch14_dinov2", 1536),
}


class DinoV2(nn.Module):
    """A DINOv2 network: images float32 [n, 3, 224, 224] -> features [n, d]."""

    def __init__(self, name: str, **shape: int) -> None:
        super().__init__()
        self.body: Any = build_empty_timm_network(name, img_size=_SIZE, num_classes=0, **shape)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": self.body.forward_features(images)[:, 0]}


def resize_position_embedding(embedding: Tensor) -> Tensor:
    """Resize a position embedding [1, 1 + g * g, d] to [1, 1 + 16 * 16, d].

    The first row belongs to the class token, the other rows to g x g patches. Like Meta's program,
    the function resizes bicubically without antialiasing, by a ratio of (16 + 0.1) / g.
    """
    grid = round((embedding.shape[1] - 1) ** 0.5)
    if grid == _GRID:
        return embedding
    patches = embedding[:, 1:].unflatten(1, (grid, grid)).permute(0, 3, 1, 2)
    ratio = (_GRID + 0.1) / grid
    resized = interpolate(patches, scale_factor=(ratio, ratio), mode="bicubic")
    return cat([embedding[:, :1], resized.flatten(2).mT], 1)


def _rename_state(state: StateDict) -> StateDict:
    """Rename Meta's tensors, or timm's, to this network's names.

    Leaves out the mask token of Meta's files, which only the training uses.
    """
    network_state = {}
    for name, value in state.items():
        if name == "pos_embed":
            network_state["body.pos_embed"] = resize_position_embedding(value)
        elif name != "mask_token":
            renamed = re.sub(r"mlp\.w12\b", "mlp.fc1", re.sub(r"mlp\.w3\b", "mlp.fc2", name))
            network_state[f"body.{renamed}"] = value
    return network_state


def _dinov2_network(name: str) -> PublishedNetwork:
    """Describe the network of this name in `TIMM_NETWORKS`."""
    timm_name, features = TIMM_NETWORKS[name]
    return PublishedNetwork(
        name=name,
        build=lambda: DinoV2(timm_name),
        size=_SIZE,
        resize="pillow-bicubic",
        scale=standardize_imagenet,
        outputs={"features": features},
        columns=("features",),
        weights=DINOV2[name],
        rename_state=_rename_state,
        float32_layers=("body.patch_embed.proj",),
    )


VIT_S_14 = _dinov2_network("dinov2-vit-s-14")
VIT_B_14 = _dinov2_network("dinov2-vit-b-14")
VIT_L_14 = _dinov2_network("dinov2-vit-l-14")
VIT_G_14 = _dinov2_network("dinov2-vit-g-14")
