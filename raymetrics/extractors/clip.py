"""Extract features with CLIP's image encoders (Radford et al. 2021), trained on captions.

Features are the embedding after the projection. They are not scaled to length 1: the metric CMMD
scales them. The network is open_clip's, with the activation function of OpenAI's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import build_empty_network
from raymetrics.extractors.pixel_scaling import standardize_clip
from raymetrics.weights.known_files import CLIP
from raymetrics.weights.state_dict import StateDict

_HEAD_WIDTH = 64  # the width of an attention head
_VISUAL_PREFIX = "visual."


@dataclass(frozen=True)
class TransformerShape:
    """The sizes of a vision transformer.

    size: pixels of an image's side. patch: pixels of a patch's side. width: channels of a block.
    layers: the number of blocks. features: the number of features.
    """

    size: int
    patch: int
    width: int
    layers: int
    features: int


SHAPES = {
    "clip-vit-b-32": TransformerShape(size=224, patch=32, width=768, layers=12, features=512),
    "clip-vit-l-14": TransformerShape(size=224, patch=14, width=1024, layers=24, features=768),
    "clip-vit-l-14-336": TransformerShape(size=336, patch=14, width=1024, layers=24, features=768),
}


class Clip(nn.Module):
    """CLIP's image encoder: images float32 [n, 3, size, size] -> features [n, d]."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.visual: Any = build_empty_network(
            "open_clip.transformer",
            "open_clip_torch",
            lambda library: library.VisionTransformer(
                image_size=shape.size,
                patch_size=shape.patch,
                width=shape.width,
                layers=shape.layers,
                heads=shape.width // _HEAD_WIDTH,
                mlp_ratio=4.0,
                output_dim=shape.features,
                act_layer=library.QuickGELU,
            ),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": self.visual(images)}


def _rename_state(state: StateDict) -> StateDict:
    """Return the tensors of the image encoder, under this network's names.

    The state may be CLIP's as a whole, or the image encoder's alone without the prefix `visual.`.
    """
    unprefixed = {name.removeprefix("module."): value for name, value in state.items()}
    if not any(name.startswith(_VISUAL_PREFIX) for name in unprefixed):
        return {_VISUAL_PREFIX + name: value for name, value in unprefixed.items()}
    return {name: value for name, value in unprefixed.items() if name.startswith(_VISUAL_PREFIX)}


def clip_network(name: str, resize: str = "clip") -> PublishedNetwork:
    """Describe the network of this name in `SHAPES`, with the resize of a known program."""
    shape = SHAPES[name]
    return PublishedNetwork(
        name=name,
        build=lambda: Clip(shape),
        size=shape.size,
        resize=resize,
        scale=standardize_clip,
        outputs={"features": shape.features},
        columns=("features",),
        weights=CLIP[name],
        rename_state=_rename_state,
        float32_layers=("visual.conv1",),
    )


VIT_B_32 = clip_network("clip-vit-b-32")
VIT_L_14 = clip_network("clip-vit-l-14")
VIT_L_14_336 = clip_network(
    "clip-vit-l-14-336", resize="torch-bicubic"
)  # the resize of CMMD's program
