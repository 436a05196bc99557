"""Extract features with the vision transformers of FDr6 (Yang et al. 2026), and with DINOv3.

These are MAE (He et al. 2022), SigLIP 2 (Tschannen et al. 2025), DINOv2 (Oquab et al. 2024) and
CLIP (Radford et al. 2021) as the programs FD-loss and fd_evaluator run them. DINOv3 (Siméoni et al.
2025) follows the same rules, in float32. Images are resized bicubically, and are not clipped.
Features are the class token after the last norm, which for CLIP is before the projection; SigLIP 2
has no class token, and its features are those of its attention pool. The networks are timm's.

CLIP here has the activation function GELU, as in those programs, though OpenAI trained it with
QuickGELU: its numbers are not those of other networks from the same file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from raymetrics.errors import ExtractorError
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import build_empty_timm_network
from raymetrics.extractors.pixel_scaling import (
    make_standardizer,
    standardize_clip,
    standardize_imagenet,
)
from raymetrics.weights import known_files
from raymetrics.weights.locate import WeightsFile
from raymetrics.weights.state_dict import StateDict, read_model_state


class TimmTransformer(nn.Module):
    """A transformer of timm: images float32 [n, 3, size, size] -> features [n, d].

    size: of the images. They are padded with 0, at the right and at the bottom, to whole patches.
    options: of timm's `create_model`.
    """

    def __init__(self, timm_name: str, size: int, **options: Any) -> None:
        super().__init__()
        body = build_empty_timm_network(timm_name, num_classes=0, **options)
        if (rope := getattr(body, "rope", None)) is not None:
            rope.reset_parameters()  # its buffers are in no file
        self.size = size
        self.padding: int = -size % body.patch_embed.patch_size[0]
        self.body: Any = body

    def resize_positions(self) -> None:
        """Resize the position embedding to the patches of the images, as timm does for any size.

        The resize is bicubic with antialiasing; the embedding of the class token stays.
        """
        side = self.size + self.padding
        with torch.no_grad():
            self.body.set_input_size((side, side))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        padded = pad(images, (0, self.padding, 0, self.padding)) if self.padding else images
        tokens = self.body.forward_features(padded)
        pool = getattr(self.body, "attn_pool", None)
        return {"features": tokens[:, 0] if pool is None else pool(tokens)}


def _rename_timm(state: StateDict) -> StateDict:
    """Rename timm's tensors, or those of MAE's and DINOv2's files, which have the same names.

    Leaves out the classifier, the mask token and the decoder.
    """
    unused = ("head.", "mask_token", "decoder_")
    return {f"body.{name}": x for name, x in state.items() if not name.startswith(unused)}


# OpenAI's names of layers, as patterns, and timm's.
_CLIP_NAMES = {
    r"^class_embedding$": "cls_token",
    r"^positional_embedding$": "pos_embed",
    r"^conv1\.": "patch_embed.proj.",
    r"^ln_pre\.": "norm_pre.",
    r"^ln_post\.": "norm.",
    r"^transformer\.resblocks\.": "blocks.",
    r"\.ln_(\d)\.": r".norm\1.",
    r"\.attn\.in_proj_": ".attn.qkv.",
    r"\.attn\.out_proj\.": ".attn.proj.",
    r"\.mlp\.c_fc\.": ".mlp.fc1.",
    r"\.mlp\.c_proj\.": ".mlp.fc2.",
}


def _rename_clip(state: StateDict) -> StateDict:
    """Rename the tensors of OpenAI's image encoder, or timm's, without the projection."""
    if "visual.conv1.weight" not in state:
        return _rename_timm(state)
    renamed = {}
    for name, value in state.items():
        layer = name.removeprefix("visual.")
        if layer == name or layer == "proj":
            continue
        for pattern, replacement in _CLIP_NAMES.items():
            layer = re.sub(pattern, replacement, layer)
        axes = {"cls_token": (None, None), "pos_embed": (None,)}.get(layer, ())
        renamed[layer] = value[axes] if axes else value
    return _rename_timm(renamed)


def _rename_dinov3(state: StateDict) -> StateDict:
    """Rename Meta's tensors, or timm's, to this network's names.

    Leaves out the biases of query, key and value, which are 0. Raises ExtractorError if one is not.
    """
    renamed = {}
    for name, value in state.items():
        if name.endswith("qkv.bias"):
            _require_no_bias(name, value, state.get(f"{name}_mask"))
        elif not name.startswith("rope_embed.") and not name.endswith("bias_mask"):
            layer = re.sub(r"\.ls(\d)\.gamma$", r".gamma_\1", name)
            renamed[layer.replace("storage_tokens", "reg_token")] = value
    return _rename_timm(renamed)


def _require_no_bias(name: str, bias: Tensor, mask: Tensor | None) -> None:
    """Raise ExtractorError unless a bias is 0 where its mask is not 0 or NaN."""
    used = bias if mask is None else bias[mask.nan_to_num() != 0]
    if used.any():
        raise ExtractorError(
            f"{name} of these weights is not 0, expected those of DINOv3's ViT-L/16; give its file"
        )


@dataclass(frozen=True)
class TimmSpace:
    """A transformer of timm with the rules of an evaluator.

    timm_name: of the architecture. size: of the images. features: their dimension. weights: the
    files. options: of timm's `create_model`. has_embedding: whether the positions of patches are an
    embedding, which has a size. precision: that of the evaluators.
    """

    timm_name: str
    size: int
    features: int
    scale: Callable[[Tensor], Tensor]
    weights: tuple[WeightsFile, ...]
    rename_state: Callable[[StateDict], StateDict] = _rename_timm
    options: dict[str, Any] = field(default_factory=dict)
    has_embedding: bool = True
    precision: str = "bfloat16"

    def build(self, **shape: int) -> TimmTransformer:
        """Build the network without weights. shape: options of timm that replace the usual ones."""
        return TimmTransformer(self.timm_name, self.size, **{**self.options, **shape})


SPACES = {
    "mae-vit-l-16": TimmSpace(
        "vit_large_patch16_224", 224, 1024, standardize_imagenet, known_files.MAE
    ),
    "siglip2-so400m-16-256": TimmSpace(
        "vit_so400m_patch16_siglip_256",
        224,  # the network was trained at 256; the evaluators feed it 224
        1152,
        make_standardizer((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        known_files.SIGLIP2,
    ),
    "dinov2-vit-l-14-256": TimmSpace(
        "vit_large_patch14_dinov2", 256, 1024, standardize_imagenet, known_files.DINOV2_256
    ),
    "clip-vit-l-14-256": TimmSpace(
        "vit_large_patch14_clip_224",
        256,
        1024,
        standardize_clip,
        known_files.CLIP_256,
        rename_state=_rename_clip,
    ),
    "dinov3-vit-l-16": TimmSpace(
        "vit_large_patch16_dinov3",
        256,
        1024,
        standardize_imagenet,
        known_files.DINOV3,
        rename_state=_rename_dinov3,
        options={"global_pool": "token", "img_size": 256, "dynamic_img_size": False},
        has_embedding=False,  # its positions are rotary
        precision="float32",
    ),
}


def _timm_network(name: str) -> PublishedNetwork:
    """Describe the network of this name in `SPACES`."""
    space = SPACES[name]
    return PublishedNetwork(
        name=name,
        build=space.build,
        size=space.size,
        resize="torch-bicubic-antialias",
        scale=space.scale,
        outputs={"features": space.features},
        columns=("features",),
        weights=space.weights,
        read=read_model_state,
        rename_state=space.rename_state,
        finish=TimmTransformer.resize_positions if space.has_embedding else lambda network: None,
        precision=space.precision,
    )


MAE = _timm_network("mae-vit-l-16")
SIGLIP2 = _timm_network("siglip2-so400m-16-256")
DINOV2_256 = _timm_network("dinov2-vit-l-14-256")
CLIP_256 = _timm_network("clip-vit-l-14-256")
DINOV3 = _timm_network("dinov3-vit-l-16")
