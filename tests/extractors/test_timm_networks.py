"""The networks of FDr6 and DINOv3 against timm's, with the preprocessing of fd_evaluator."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn.functional import interpolate

import raymetrics as rm
from raymetrics import extractors
from raymetrics.errors import ExtractorError
from raymetrics.extractors import EXTRACTOR_GROUPS, expand_groups, make_extractor, published_network
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.convnextv2 import ConvNextV2
from raymetrics.extractors.timm_transformers import SPACES
from raymetrics.weights.state_dict import read_model_state
from tests.extractors.test_networks import extractor_of, pictures, shaken
from tests.helpers import tiny_networks
from tests.helpers.reference_programs import (
    TIMM_SPACES,
    State,
    build_timm,
    fd_evaluator,
    fd_evaluator_features,
    fd_evaluator_input,
)

CPU = torch.device("cpu")
FDR6 = EXTRACTOR_GROUPS["fdr6"]

# Fewer blocks and channels; heads are as wide as those of the networks.
SMALL: dict[str, dict[str, Any]] = {
    name: {"depth": 2, "embed_dim": 128, "num_heads": 2} for name in TIMM_SPACES
} | {
    "siglip2-so400m-16-256": {"depth": 2, "embed_dim": 144, "num_heads": 2},
    "convnextv2-base": {"depths": [1, 2, 1, 1], "dims": (16, 32, 64, 128)},
}


def small(name: str) -> PublishedNetwork:
    """The published network with fewer blocks and channels."""
    a = published_network(name)
    build = SPACES[name].build if name in SPACES else ConvNextV2
    width = SMALL[name].get("embed_dim", 128)
    return replace(a, build=partial(build, **SMALL[name]), outputs={"features": width})


def random_state(name: str) -> State:
    """Tensors in the layout of timm's file, with its classifier if it has one."""
    network = shaken(build_timm(name, **SMALL[name]))
    return network.state_dict()


def relative_difference(actual: np.ndarray, expected: torch.Tensor) -> float:
    assert actual.shape == tuple(expected.shape)
    assert actual.std() > 0
    return float((torch.from_numpy(actual) - expected).norm() / expected.norm())


@pytest.mark.parametrize(("height", "width"), [(256, 256), (240, 300)])
@pytest.mark.parametrize("name", TIMM_SPACES)
def test_features_are_fd_evaluator_s(name: str, height: int, width: int, device) -> None:
    """An image of 256 x 256 that a network takes at 256 is not resized there; here it is."""
    state, images = random_state(name), pictures(1, height, width)
    ours = extractor_of(small(name), state, "precision=float32&block=1", device)
    expected = fd_evaluator(name, state, images, **SMALL[name])["features"]
    assert relative_difference(ours(images)["features"], expected) < 1e-6


@pytest.mark.parametrize("name", FDR6[1:])
def test_bfloat16_is_timm_s_under_autocast(name: str) -> None:
    """Norms are in float32, as under autocast on a GPU, where the evaluators use it.

    In the same layout the bits are the same; another layout changes sums, and 8 digits flip.
    """
    state, images = random_state(name), pictures(1, 256, 256)
    network = build_timm(name, **SMALL[name])
    network.load_state_dict(state)
    for layer_name, layer in network.named_modules():
        if isinstance(layer, nn.LayerNorm) or layer_name.endswith(".grn"):
            layer.register_forward_pre_hook(lambda layer, inputs: (inputs[0].float(),))
    with torch.autocast("cpu", torch.bfloat16):
        expected = fd_evaluator_features(network, fd_evaluator_input(name, images)).float()
    ours = extractor_of(small(name), state, "block=1&layout=contiguous")
    assert ours.precision == "bfloat16"
    assert relative_difference(ours(images)["features"], expected) < 1e-3


@pytest.mark.parametrize("name", TIMM_SPACES)
def test_tensors_have_timm_s_names_and_shapes(name: str) -> None:
    """In all blocks, of the file that timm publishes; its classifier is left out."""
    with torch.device("meta"):
        theirs = timm.create_model(TIMM_SPACES[name][0]).state_dict()
    expected = {f"body.{n}": x.shape for n, x in theirs.items() if not n.startswith("head.")}
    network = published_network(name).build()
    assert {n: x.shape for n, x in network.state_dict().items()} == expected


def meta_s_convnext(state: State) -> State:
    """The layout of Meta's file, from timm's."""
    renamed = {}
    for name, value in state.items():
        name = re.sub(r"^stem\.", "downsample_layers.0.", name)
        name = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
        name = (
            name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        )
        name = name.replace("head.norm", "norm").replace("head.fc", "head")
        if ".grn." in name:
            name = name.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta")
            value = value.view(1, 1, 1, -1)
        renamed[name] = value
    return renamed


def openai_s_clip(state: State) -> State:
    """The layout of OpenAI's archive, from timm's: the image encoder and a tensor of the text's."""
    renamed = {"text_projection": torch.zeros(2), "visual.proj": state["head.weight"].T}
    for name, value in state.items():
        name = name.replace("blocks.", "transformer.resblocks.").replace(
            "attn.proj", "attn.out_proj"
        )
        name = name.replace("attn.qkv.", "attn.in_proj_").replace("mlp.fc1", "mlp.c_fc")
        name = name.replace("mlp.fc2", "mlp.c_proj").replace("patch_embed.proj", "conv1")
        name = name.replace("norm_pre", "ln_pre").replace("pos_embed", "positional_embedding")
        name = name.replace("cls_token", "class_embedding")
        name = re.sub(r"^norm", "ln_post", re.sub(r"norm(\d)", r"ln_\1", name))
        if name in ("class_embedding", "positional_embedding"):
            value = value.squeeze()
        if not name.startswith("head."):
            renamed[f"visual.{name}"] = value
    return renamed


def meta_s_dinov3(state: State) -> State:
    """The layout of Meta's file, from timm's: with biases of 0, whose mask has NaN, and periods."""
    masks = {f"blocks.0.attn.qkv.bias{k}": torch.zeros(3 * 128) for k in ("", "_mask")}
    masks["blocks.0.attn.qkv.bias_mask"][:128] = np.nan
    extra = {"mask_token": torch.zeros(1, 128), "rope_embed.periods": torch.ones(16)}
    renamed = {
        re.sub(r"gamma_(\d)", r"ls\1.gamma", name).replace("reg_token", "storage_tokens"): x
        for name, x in state.items()
    }
    return {**renamed, **masks, **extra}


LAYOUTS = {
    "convnextv2-base": meta_s_convnext,
    "clip-vit-l-14-256": openai_s_clip,
    "dinov3-vit-l-16": meta_s_dinov3,
    "mae-vit-l-16": lambda state: {**state, "decoder_pos_embed": torch.zeros(1)},
    "dinov2-vit-l-14-256": lambda state: {**state, "mask_token": torch.zeros(1, 1024)},
    "siglip2-so400m-16-256": dict,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_of_the_authors_hold_the_same_network(name: str) -> None:
    """Also to timm, which reads those layouts itself."""
    state, images = random_state(name), pictures(1, 32, 32)
    theirs = LAYOUTS[name](state)
    network = small(name)
    ours = extractor_of(network, state)
    assert extractor_of(network, theirs).weights_sha256 == ours.weights_sha256
    if name != "mae-vit-l-16":  # timm's filter keeps the decoder
        expected = fd_evaluator(name, state, images, **SMALL[name])["features"]
        actual = fd_evaluator(name, dict(theirs), images, **SMALL[name])["features"]
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_a_dinov3_with_biases_is_another_network() -> None:
    state = meta_s_dinov3(random_state("dinov3-vit-l-16"))
    state["blocks.0.attn.qkv.bias"] = torch.ones(3 * 128)
    state["blocks.0.attn.qkv.bias_mask"] = torch.ones(3 * 128)
    with pytest.raises(ExtractorError, match="blocks.0.attn.qkv.bias of these weights is not 0"):
        extractor_of(small("dinov3-vit-l-16"), state)


@pytest.mark.parametrize("entry", ["model", None])
def test_a_state_of_a_training_holds_its_model(entry: str | None, tmp_path) -> None:
    state = {"weight": torch.arange(3.0)}
    torch.save({entry: state, "epoch": 3} if entry else state, tmp_path / "a.pth")
    assert read_model_state(tmp_path / "a.pth")["weight"].tolist() == [0, 1, 2]
    torch.save({"model": 3}, tmp_path / "a.pth")
    with pytest.raises(ExtractorError, match=r"a.pth, entry 'model', are not tensors"):
        read_model_state(tmp_path / "a.pth")


def test_padding_is_at_the_right_and_at_the_bottom() -> None:
    """Of 266 pixels the last ten are 0; the position embedding is that of 19 x 19 patches."""
    network = small("dinov2-vit-l-14-256").build().eval()
    assert network.padding == 10
    with torch.no_grad():
        for value in network.state_dict().values():
            value.normal_()
    before = network.body.pos_embed.detach().clone()
    network.resize_positions()
    grid = before[:, 1:].unflatten(1, (37, 37)).permute(0, 3, 1, 2)
    expected = interpolate(grid, (19, 19), mode="bicubic", antialias=True).flatten(2).mT
    torch.testing.assert_close(network.body.pos_embed[:, 1:], expected, rtol=0, atol=0)
    torch.testing.assert_close(network.body.pos_embed[:, :1], before[:, :1], rtol=0, atol=0)


def test_a_group_stands_for_its_extractors() -> None:
    assert expand_groups(["vgg16", "fdr6"]) == ["vgg16", *FDR6]
    asked = expand_groups(["untrained-fdr6?seed=3&precision=float32"])
    assert asked == [f"untrained-{name}?seed=3&precision=float32" for name in FDR6]
    assert all(name in extractors.PUBLISHED_NETWORKS for name in FDR6)
    with pytest.raises(ExtractorError, match="fdr6 has no option 'weights'; there are seed, prec"):
        expand_groups(["fdr6?weights=a.pth"])
    with pytest.raises(ExtractorError, match="fdr6 is a group of extractors, expected one; write"):
        make_extractor("fdr6", CPU)
    with pytest.raises(ExtractorError, match="no extractor 'fdr7'; .* groups fdr6"):
        make_extractor("fdr7", CPU)


def test_six_networks_in_one_pass(tmp_path, monkeypatch) -> None:
    """One command and one set, a column for each; and their distances by the group's name."""

    def quick(name: str) -> PublishedNetwork:
        return small(name) if name in SMALL else replace(tiny_networks.ARCHITECTURE, name=name)

    monkeypatch.setattr(extractors, "published_network", quick)
    sides = {"real": "0-3", "generated": "4-7"}
    for side, samples in sides.items():
        rm.extract(
            tiny_networks.SPOTS,
            "untrained-fdr6?precision=float32&block=4",
            tmp_path / side,
            samples,
            resources=rm.Resources(local=1),
        )
    paths = {side: str(tmp_path / side) for side in sides}
    results = rm.evaluate(**paths, metrics="fid", extractors="untrained-fdr6")
    assert {result.space["network"] for result in results} == set(FDR6)
    assert len(results) == 6
    assert all(result.value > 0 for result in results)
