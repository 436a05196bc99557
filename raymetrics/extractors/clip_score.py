"""Compute the cosines of CLIP's embeddings of images and of their prompts, for CLIPScore.

The image encoder is that of `raymetrics.extractors.clip`, the text encoder open_clip's with the
tokenizer that open_clip ships; both have OpenAI's weights, which one file holds. The option
`prefix` is written before every prompt: Hessel et al. (2021) take "A photo depicts " with
ViT-B/32, torchmetrics takes none with ViT-L/14. Texts of more than 77 tokens are cut.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raymetrics.errors import ExtractorError
from raymetrics.extractors.base import NetworkExtractor, PublishedNetwork, build_extractor
from raymetrics.extractors.build_networks import build_empty_network
from raymetrics.extractors.clip import SHAPES, Clip, TransformerShape, clip_network
from raymetrics.extractors.options import Options
from raymetrics.extractors.user_outputs import require_image_tensor
from raymetrics.output_names import COSINE
from raymetrics.weights.state_dict import StateDict

_HEAD_WIDTH, _TEXT_LAYERS = 64, 12
_OPTIONS = ("weights", "resize", "precision", "block", "layout", "prefix", "name")
_NUMERICS = {"block": 16, "layout": "contiguous"}
_HESSEL_PREFIX = "A photo depicts "
# The width of the text encoder, and what stands before every prompt, by the name of the network.
_TEXTS = {"vit-b-32": (512, _HESSEL_PREFIX), "vit-l-14": (768, "")}
# What OpenAI's files hold besides the tensors of both encoders.
_CONSTANTS = {"logit_scale", "input_resolution", "context_length", "vocab_size"}


class ClipWithText(Clip):
    """CLIP's image encoder, and its text encoder: tokens int64 [n, 77] -> features [n, d]."""

    def __init__(self, shape: TransformerShape, text_width: int, text_layers: int) -> None:
        super().__init__(shape)
        self.text: Any = build_empty_network(
            "open_clip.transformer",
            "open_clip_torch",
            lambda library: library.TextTransformer(
                width=text_width,
                heads=text_width // _HEAD_WIDTH,
                layers=text_layers,
                output_dim=shape.features,
                act_layer=library.QuickGELU,
            ),
        )
        # No file holds the mask, and an empty network holds no numbers.
        text: Any = self.text
        text.register_buffer("attn_mask", text.build_causal_mask(), persistent=False)


def _rename_state(state: StateDict) -> StateDict:
    """Return the tensors of both encoders, those of the text encoder with the prefix `text.`."""
    unprefixed = {name.removeprefix("module."): value for name, value in state.items()}
    return {
        name if name.startswith("visual.") else f"text.{name}": value
        for name, value in unprefixed.items()
        if name not in _CONSTANTS
    }


def describe_network(
    name: str, shape: TransformerShape | None = None, text_layers: int = _TEXT_LAYERS
) -> PublishedNetwork:
    """Describe the network of "clipscore-vit-b-32": CLIP's image encoder, with its text encoder.

    shape: other than the published one.
    """
    variant = name.removeprefix("clipscore-")
    images = clip_network(f"clip-{variant}")
    shape = shape or SHAPES[images.name]
    width, _ = _TEXTS[variant]
    blocks = [f"text.transformer.resblocks.{i}" for i in range(text_layers)]
    text_layer_names = [
        f"{block}.{layer}" for block in blocks
        for layer in ("attn", "attn.out_proj", "mlp.c_fc", "mlp.c_proj")
    ]  # fmt: skip
    return replace(
        images,
        name=name,
        build=lambda: ClipWithText(shape, width, text_layers),
        rename_state=_rename_state,
        float32_layers=(*images.float32_layers, *text_layer_names),
    )


class ClipScoreExtractor:
    """An extractor of the cosine of each image and its prompt."""

    takes_prompts = True
    thread_safe = True
    class_names: tuple[str, ...] = ()

    def __init__(self, images: NetworkExtractor, prefix: str) -> None:
        self.images, self.prefix = images, prefix
        self.name, self.device, self.block = images.name, images.device, images.block
        self.columns = {COSINE: 1}
        self.file = images.file
        self.network: nn.Module = images.network  # whose weights decide where workers go
        self._tokenize = importlib.import_module("open_clip.tokenizer").tokenize

    @property
    def spec(self) -> dict[str, object]:
        """The specification of the network, with the text that stands before every prompt."""
        return {**self.images.spec, "columns": dict(self.columns), "prefix": self.prefix}

    def __call__(
        self, images: np.ndarray, prompts: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Compute {"cosine": float32 [n, 1]} of images uint8 [n, 3, h, w] and their prompts.

        Raises ExtractorError for other images, and for prompts that are missing or of another
        number.
        """
        tensors = self.tensors(require_image_tensor(images, self.name), prompts)
        return {name: values.cpu().numpy() for name, values in tensors.items()}

    def tensors(self, images: Tensor, prompts: Sequence[str] | None) -> dict[str, Tensor]:
        """Compute {"cosine": float32 [n, 1]} on the extractor's device; see `__call__`."""
        if prompts is None or len(prompts) != len(images):
            count = "no" if prompts is None else str(len(prompts))
            raise ExtractorError(
                f"{self.name} got {len(images)} images and {count} prompts, expected as many of "
                "both"
            )
        normalize = nn.functional.normalize
        image_features = normalize(self.images.tensors(images)["features"], dim=1)
        text_features = normalize(self.encode(prompts), dim=1)
        return {COSINE: (image_features * text_features).sum(dim=1, keepdim=True)}

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Compute the embeddings of texts, float32 [n, d], on the extractor's device."""
        tokens = self._tokenize([self.prefix + prompt for prompt in prompts]).to(self.device)
        network: Any = self.network
        with torch.no_grad():
            features: Tensor = network.text(tokens)
        return features.float()


def build_clip_score(options: Options, device: torch.device) -> ClipScoreExtractor:
    """Build the extractor that options name, with its weights on the device.

    Raises ExtractorError as `build_extractor` does.
    """
    known = _OPTIONS[1:] if options.untrained else _OPTIONS
    options.require_known(("seed", *known) if options.untrained else known)
    return build_clip_score_of(describe_network(options.network), options, device)


def build_clip_score_of(
    network: PublishedNetwork, options: Options, device: torch.device
) -> ClipScoreExtractor:
    """Build the extractor of a network that `describe_network` describes."""
    images = build_extractor(network, options, device, _NUMERICS)
    _, usual_prefix = _TEXTS[options.network.removeprefix("clipscore-")]
    prefix = options.option_values.get("prefix", usual_prefix)
    # As Hessel et al.'s program does, so that a prefix is a word of its own.
    return ClipScoreExtractor(images, f"{prefix.rstrip()} " if prefix.strip() else "")
