"""Extract features with ConvNeXt V2 (Woo et al. 2023), a convolutional network.

FD-loss and fd_evaluator (Yang et al. 2026) use the base size, fine-tuned on ImageNet-22k and
ImageNet-1k. Features are the spatial mean of the last map, before the norm of the classifier. The
network is timm's; its weights may come from Meta's file or timm's.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import build_empty_timm_network
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.weights.known_files import CONVNEXT_V2
from raymetrics.weights.state_dict import StateDict, read_model_state

_FEATURES = 1024
_HEAD_PREFIXES = ("head.", "norm.")  # the classifier, in timm's files and in Meta's

# Meta's names of layers, as patterns, and timm's.
_META_NAMES = {
    r"^downsample_layers\.0\.": "stem.",
    r"^downsample_layers\.(\d)\.": r"stages.\1.downsample.",
    r"^stages\.(\d)\.(\d+)\.": r"stages.\1.blocks.\2.",
    r"\.dwconv\.": ".conv_dw.",
    r"\.pwconv(\d)\.": r".mlp.fc\1.",
    r"\.grn\.gamma$": ".mlp.grn.weight",
    r"\.grn\.beta$": ".mlp.grn.bias",
}


class ConvNextV2(nn.Module):
    """ConvNeXt V2: images float32 [n, 3, 224, 224] -> features [n, 1024]."""

    def __init__(self, **shape: Any) -> None:
        super().__init__()
        self.body: Any = build_empty_timm_network("convnextv2_base", **shape)
        self.body.head = nn.Identity()
        for name, layer in self.body.named_modules():
            if name.endswith(".grn"):  # its norm is computed in float32, as under autocast
                layer.register_forward_pre_hook(lambda layer, inputs: (inputs[0].float(),))

    def activations(self, images: Tensor) -> Tensor:
        """Compute the map [n, 1024, 7, 7] whose spatial mean is `features`."""
        x: Tensor = self.body.forward_features(images)
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute the features from the map."""
        return {"features": activations.float().mean(dim=(2, 3))}


def _rename_state(state: StateDict) -> StateDict:
    """Rename Meta's tensors, or timm's, to this network's names, without the classifier."""
    network_state = {}
    for name, value in state.items():
        if name.startswith(_HEAD_PREFIXES):
            continue
        is_meta_norm = bool(re.search(r"\.grn\.(gamma|beta)$", name))
        for pattern, replacement in _META_NAMES.items():
            name = re.sub(pattern, replacement, name)
        network_state[f"body.{name}"] = value.flatten() if is_meta_norm else value
    return network_state


BASE = PublishedNetwork(
    name="convnextv2-base",
    build=ConvNextV2,
    size=224,
    resize="torch-bicubic-antialias",
    scale=standardize_imagenet,
    outputs={"features": _FEATURES},
    columns=("features",),
    weights=CONVNEXT_V2,
    read=read_model_state,
    rename_state=_rename_state,
    precision="bfloat16",
)
