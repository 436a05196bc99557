"""Extract descriptors with SSCD (Pizzi et al. 2022), which find copies of an image.

The network is a ResNet-50 with a generalized mean of its last map (Radenović et al. 2019) and a
linear layer. Descriptors have length 1: their dot product is the similarity that papers on
memorization compare with a threshold. The weights are those of disc_mixup, which the authors
recommend.
"""

from __future__ import annotations

import re

from torch import Tensor, nn
from torch.nn.functional import normalize

from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.extractors.resnet50_body import FEATURES, build_empty_body, fuse
from raymetrics.weights.known_files import SSCD
from raymetrics.weights.state_dict import StateDict

_DIMENSION = 512
_POWER = 3.0
_SMALLEST = 1e-6  # activations below it are raised to it

# Classy Vision's names of layers, as patterns, and torchvision's.
_CLASSY_NAMES = {
    r"^initial_block\._module\.0\.": "conv1.",
    r"^initial_block\._module\.1\.": "bn1.",
    r"\.convolutional_block\.0\.": ".conv1.",
    r"\.convolutional_block\.1\.": ".bn1.",
    r"\.convolutional_block\.3\.": ".conv2.",
    r"\.convolutional_block\.4\.": ".bn2.",
    r"\.convolutional_block\.6\.": ".conv3.",
    r"(block\d-\d)\.bn\.": r"\1.bn3.",
}


def generalized_mean(activations: Tensor) -> Tensor:
    """Compute (mean of x^3)^(1/3) over the places of a map, [n, c, h, w] -> float32 [n, c].

    Radenović et al. (2019), Eq. 3, with p = 3.
    """
    powers = activations.float().clamp(min=_SMALLEST).pow(_POWER)
    return powers.mean(dim=(2, 3)).pow(1 / _POWER)


class Sscd(nn.Module):
    """SSCD's network: images float32 [n, 3, h, w] -> features [n, 512] of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = build_empty_body()
        self.fc = nn.Linear(FEATURES, _DIMENSION)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": normalize(self.fc(generalized_mean(self.body(images))))}


def _rename_state(state: StateDict) -> StateDict:
    """Rename the tensors of any of the authors' three files to this network's names.

    The files hold torchvision's layers, or those of Classy Vision, `blocks.0.block0-1` and so on.
    """
    renamed = {}
    for name, value in state.items():
        layer = name.removeprefix("backbone.")
        if name.startswith("embeddings.1."):
            layer = name.replace("embeddings.1.", "fc.")
        for pattern, replacement in _CLASSY_NAMES.items():
            layer = re.sub(pattern, replacement, layer)
        layer = re.sub(
            r"^blocks\.(\d)\.block\d-(\d)", lambda m: f"layer{int(m[1]) + 1}.{m[2]}", layer
        )
        renamed[layer if layer.startswith("fc.") else f"body.{layer}"] = value
    return renamed


def _sscd_network(name: str, size: int, resize: str) -> PublishedNetwork:
    """Describe the network at one of the two sizes that the authors recommend."""
    return PublishedNetwork(
        name=name,
        build=Sscd,
        size=size,
        resize=resize,
        scale=standardize_imagenet,
        outputs={"features": _DIMENSION},
        columns=("features",),
        weights=SSCD,
        rename_state=_rename_state,
        finish=fuse,
        float32_layers=("fc",),
        any_shape=True,
    )


DISC_MIXUP = _sscd_network("sscd-disc-mixup", 288, "shorter-side")
DISC_MIXUP_320 = _sscd_network("sscd-disc-mixup-320", 320, "pillow-bilinear")
