"""CLIP's image encoders (Radford et al. 2021): what is in an image, in the words of its caption.

Features are the embedding after the projection, not scaled to length 1; CMMD does that itself.
The network is open_clip's, with the activation of OpenAI's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from raymetrics.extractors.base import Architecture
from raymetrics.extractors.build_networks import network_of
from raymetrics.extractors.pixel_scaling import standardised
from raymetrics.weights.known_files import CLIP
from raymetrics.weights.state_dict import State

HEAD = 64  # the width of an attention head
VISUAL = "visual."

scale = standardised(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A vision transformer: pixels and pixels of a patch, blocks and their width, features."""

    size: int
    patch: int
    width: int
    layers: int
    features: int


SHAPES = {
    "clip-vit-b-32": Shape(size=224, patch=32, width=768, layers=12, features=512),
    "clip-vit-l-14": Shape(size=224, patch=14, width=1024, layers=24, features=768),
    "clip-vit-l-14-336": Shape(size=336, patch=14, width=1024, layers=24, features=768),
}


class Clip(nn.Module):
    """Images float32 [n, 3, size, size] -> features [n, d]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.visual: Any = network_of(
            "open_clip.transformer",
            "open_clip_torch",
            lambda library: library.VisionTransformer(
                image_size=shape.size,
                patch_size=shape.patch,
                width=shape.width,
                layers=shape.layers,
                heads=shape.width // HEAD,
                mlp_ratio=4.0,
                output_dim=shape.features,
                act_layer=library.QuickGELU,
            ),
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"features": self.visual(images)}


def translated(state: State) -> State:
    """The image encoder's part of a state, with or without its prefix."""
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    if not any(name.startswith(VISUAL) for name in plain):
        return {VISUAL + name: value for name, value in plain.items()}
    return {name: value for name, value in plain.items() if name.startswith(VISUAL)}


def architecture(name: str, resize: str = "clip") -> Architecture:
    """A row of SHAPES, with the resize of the program that it is known by."""
    shape = SHAPES[name]
    return Architecture(
        name=name,
        build=lambda: Clip(shape),
        size=shape.size,
        resize=resize,
        scale=scale,
        outputs={"features": shape.features},
        columns=("features",),
        weights=CLIP[name],
        translate=translated,
    )


VIT_B_32 = architecture("clip-vit-b-32")
VIT_L_14 = architecture("clip-vit-l-14")
VIT_L_14_336 = architecture("clip-vit-l-14-336", resize="torch-bicubic")  # CMMD's
