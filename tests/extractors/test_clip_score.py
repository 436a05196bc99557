"""CLIPScore's cosines against open_clip, transformers and torchmetrics, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch import nn
from torchmetrics.functional.multimodal import clip_score as peer_clip_score
from transformers import CLIPConfig, CLIPModel

from raymetrics.errors import ExtractorError
from raymetrics.extractors import clip, clip_score, make_extractor
from raymetrics.extractors.base import extract_tensors
from raymetrics.extractors.clip_score import ClipScoreExtractor
from raymetrics.extractors.options import Options
from raymetrics.metrics import clip_score as scaled_score
from raymetrics.metrics import scale_cosines
from raymetrics.statistics import Moments
from raymetrics.weights.locate import WeightsFile

CPU = torch.device("cpu")
BLOCKS = 1  # of each encoder, instead of twelve
SHAPE = replace(clip.SHAPES["clip-vit-b-32"], layers=BLOCKS)
PROMPTS = ["a cat", "Two dogs, at 7 o'clock & later, " * 20, "ein Schlüssel"]


@pytest.fixture(scope="module")
def peer() -> Any:
    """Return open_clip's network of both encoders, with random weights."""
    torch.manual_seed(0)
    vision = {"image_size": 224, "layers": BLOCKS, "width": 768, "patch_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": BLOCKS}
    return open_clip.CLIP(512, vision, text, quick_gelu=True).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 3, 250, 230), np.uint8)


def ours(peer: Any, query: str = "?block=4") -> ClipScoreExtractor:
    """Return our extractor with the weights of the peer, as OpenAI's files have them."""
    state = dict(peer.state_dict()) | {"context_length": torch.tensor(77)}
    network = clip_score.describe_network("clipscore-vit-b-32", SHAPE, BLOCKS)
    no_file = WeightsFile("held", None, locate=lambda: Path(__file__))
    network = replace(network, read=lambda path: dict(state), weights=(no_file,))
    options = Options.parse(f"clipscore-vit-b-32{query}")
    return clip_score.build_clip_score_of(network, options, CPU)


def test_cosines_are_open_clip_s(peer: Any, images: np.ndarray) -> None:
    transform = open_clip.image_transform(224, is_train=False)
    pixels = torch.stack([transform(Image.fromarray(x.transpose(1, 2, 0))) for x in images])
    for query, prefix in (
        ("?block=3", "A photo depicts "),
        ("?block=3&prefix=", ""),
        ("?block=3&prefix=So", "So "),
    ):
        extractor = ours(peer, query)
        assert extractor.spec["prefix"] == prefix
        tokens = open_clip.tokenize([prefix + text for text in PROMPTS])
        theirs = peer.encode_image(pixels, normalize=True) * peer.encode_text(tokens, True)
        cosines = extractor(images, PROMPTS)["cosine"]
        assert cosines.std() > 1e-3
        np.testing.assert_allclose(cosines[:, 0], theirs.sum(dim=1), atol=1e-6)


def test_cosines_follow_their_samples(peer: Any, images: np.ndarray) -> None:
    extractor, tensor = ours(peer), torch.from_numpy(images)
    whole = extract_tensors(extractor, np.array([2, 3, 4]), tensor, PROMPTS)["cosine"]
    alone = extract_tensors(extractor, np.array([4]), tensor[2:], PROMPTS[2:])["cosine"]
    np.testing.assert_array_equal(whole[2:], alone)


def in_hugging_face(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of both encoders under the names of transformers' CLIPModel."""
    names = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "logit_scale": "logit_scale",
    }
    found = {theirs: state[name] for name, theirs in names.items()}
    found["visual_projection.weight"] = state["visual.proj"].T
    found["text_projection.weight"] = state["text_projection"].T
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "ln_final": "text_model.final_layer_norm",
    }
    norms |= {"visual.ln_post": "vision_model.post_layernorm"}
    for ours_name, tower in (("visual.transformer", "vision_model"), ("transformer", "text_model")):
        for i in range(BLOCKS):
            block, layer = f"{ours_name}.resblocks.{i}", f"{tower}.encoder.layers.{i}"
            norms |= {f"{block}.ln_1": f"{layer}.layer_norm1"}
            norms |= {f"{block}.ln_2": f"{layer}.layer_norm2"}
            norms |= {f"{block}.mlp.c_fc": f"{layer}.mlp.fc1"}
            norms |= {f"{block}.mlp.c_proj": f"{layer}.mlp.fc2"}
            norms |= {f"{block}.attn.out_proj": f"{layer}.self_attn.out_proj"}
            for kind in ("weight", "bias"):
                parts = state[f"{block}.attn.in_proj_{kind}"].chunk(3)
                for part, name in zip(parts, "qkv", strict=True):
                    found[f"{layer}.self_attn.{name}_proj.{kind}"] = part
    for name, theirs in norms.items():
        for kind in ("weight", "bias"):
            found[f"{theirs}.{kind}"] = state[f"{name}.{kind}"]
    return found


class Features(nn.Module):
    """The embeddings of transformers' network as the tensors that torchmetrics takes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.get_image_features(pixels).pooler_output

    def get_text_features(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.get_text_features(tokens, mask).pooler_output


class Processor:
    """What torchmetrics calls before the network: open_clip's tokens, and its transform."""

    def __call__(
        self, text: Sequence[str] | None = None, images: Any = None, **_: object
    ) -> dict[str, Any]:
        if text is not None:
            tokens = open_clip.tokenize(list(text))
            return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        transform = open_clip.image_transform(224, is_train=False)
        arrays = [np.asarray(x).transpose(1, 2, 0) for x in images]
        return {"pixel_values": torch.stack([transform(Image.fromarray(a)) for a in arrays])}


def test_the_score_is_torchmetrics_s(peer: Any, images: np.ndarray) -> None:
    """With transformers' network, converted from the same random weights."""
    config = CLIPConfig(
        text_config={"num_hidden_layers": BLOCKS, "hidden_act": "quick_gelu", "eos_token_id": 2},
        vision_config={"num_hidden_layers": BLOCKS, "patch_size": 32, "hidden_act": "quick_gelu"},
    )
    model = CLIPModel(config).eval()
    missing, unexpected = model.load_state_dict(in_hugging_face(peer.state_dict()), strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    cosines = ours(peer, "?block=3&prefix=")(images, PROMPTS)["cosine"]
    scores = []
    for image, prompt, cosine in zip(images, PROMPTS, cosines, strict=True):
        with torch.no_grad():
            theirs = peer_clip_score(
                torch.from_numpy(image), prompt, lambda: (Features(model), Processor())
            )
        moments = Moments.from_samples(scale_cosines(cosine[np.newaxis], "torchmetrics"))
        scores.append(scaled_score(moments, "torchmetrics").mean)
        assert scores[-1] == pytest.approx(float(theirs), abs=1e-4)
    assert max(scores) > 0.1
    assert (np.array(scores) == 0).tolist() == (cosines[:, 0] < 0).tolist()


def test_wrong_options_and_prompts(peer: Any, images: np.ndarray) -> None:
    with pytest.raises(ExtractorError, match="clipscore-vit-l-14 has no option 'columns'"):
        make_extractor("clipscore-vit-l-14?columns=x", CPU)
    extractor = ours(peer)
    with pytest.raises(ExtractorError, match="got 3 images and no prompts"):
        extractor(images)
    with pytest.raises(ExtractorError, match="got 3 images and 1 prompts"):
        extractor(images, ["a"])


def test_half_precision_is_near(peer: Any, images: np.ndarray) -> None:
    """The text encoder stays in float32."""
    exact = ours(peer)(images, PROMPTS)["cosine"]
    rounded = ours(peer, "?block=4&precision=bfloat16")(images, PROMPTS)["cosine"]
    assert 0 < np.abs(exact - rounded).max() < 5e-3
