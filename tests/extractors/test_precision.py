"""Precisions: which layers are cast, and how far features are from those of float32."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from raymetrics.errors import ExtractorError
from raymetrics.extractors import make_extractor, published_network
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.precision import PRECISIONS, cast_layers
from tests.helpers.shallow_networks import DISTINCT_NETWORKS, build_shallow, leave_weights_unset

CPU = torch.device("cpu")
REDUCED = {name: dtype for name, dtype in PRECISIONS.items() if dtype is not None}

# On a CPU float16 and bfloat16 take minutes for the large ones.
QUICK = ("digits", "clip-vit-b-32", "dinov2-vit-s-14")
NETWORKS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in DISTINCT_NETWORKS
]
MAX_ERROR = 3  # in units of the format's spacing at 1, of features of unit length


def smooth_images(count: int, side: int) -> np.ndarray:
    coarse = np.random.default_rng(5).integers(0, 256, (count, 3, 6, 6)).astype(np.float32)
    smooth = interpolate(torch.from_numpy(coarse), (side, side), mode="bicubic")
    return smooth.clamp(0, 255).to(torch.uint8).numpy()


def all_columns(name: str, precision: str, device: torch.device = CPU) -> NetworkExtractor:
    columns = ",".join(published_network(name).outputs)
    return build_shallow(name, f"precision={precision}&columns={columns}", device, layers=2)


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize("name", NETWORKS)
def test_features_are_near_those_of_float32(name, precision, device) -> None:
    """The error of a sum of rounded products is about the spacing, times the root of the depth."""
    images = smooth_images(2, 64)
    expected = all_columns(name, "float32", device)(images)
    for column, values in all_columns(name, precision, device)(images).items():
        assert values.dtype == np.float32
        error = np.linalg.norm(values - expected[column]) / np.linalg.norm(expected[column])
        assert 0 < error < MAX_ERROR * torch.finfo(REDUCED[precision]).eps, column


def test_tf32_is_float32_on_a_cpu() -> None:
    images = smooth_images(2, 28)
    full, tf32 = (make_extractor(f"digits?precision={p}", CPU) for p in ("float32", "tf32"))
    for column, values in full(images).items():
        np.testing.assert_array_equal(tf32(images)[column], values)
    assert {k: v for k, v in tf32.spec.items() if full.spec[k] != v} == {"precision": "tf32"}


@pytest.mark.gpu
@pytest.mark.parametrize("name", DISTINCT_NETWORKS)
def test_tf32_is_near_float32_on_a_gpu(name: str) -> None:
    images, gpu = smooth_images(2, 64), torch.device("cuda")
    expected = all_columns(name, "float32", gpu)(images)
    for column, values in all_columns(name, "tf32", gpu)(images).items():
        error = np.linalg.norm(values - expected[column]) / np.linalg.norm(expected[column])
        assert 0 < error < MAX_ERROR * 2**-10, column  # TF32 has float16's digits


def types_by_layer(network: nn.Module) -> Iterator[tuple[str, nn.Module, torch.dtype]]:
    for name, layer in network.named_modules():
        for tensor in layer.parameters(recurse=False):
            yield name, layer, tensor.dtype


@pytest.mark.parametrize("name", DISTINCT_NETWORKS)
def test_weights_are_cast_when_the_network_is_built(name: str, monkeypatch) -> None:
    """No layer is left over: what is not cast is a norm, an embedding, or named."""
    leave_weights_unset(monkeypatch)
    network = build_shallow(name, "precision=bfloat16", CPU).network
    kept = published_network(name).float32_layers
    named = dict(network.named_modules())
    for layer in kept:
        assert next(named[layer].parameters()).dtype == torch.float32
    for layer_name, layer, dtype in types_by_layer(network):
        products = isinstance(layer, nn.Conv2d | nn.Linear | nn.MultiheadAttention)
        expected = torch.bfloat16 if products and layer_name not in kept else torch.float32
        assert dtype == expected, layer_name


def test_a_cast_layer_casts_its_input_and_no_other() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 2))
    cast_layers(network.requires_grad_(False), torch.float16, ("3",))
    seen: list[torch.dtype] = []
    for layer in network:
        layer.register_forward_hook(lambda layer, args, output: seen.append(output.dtype))
    network[1].register_forward_pre_hook(lambda layer, args: (args[0].float(),))
    network[3].register_forward_pre_hook(lambda layer, args: (args[0].float(),))
    network(torch.ones(2, 4))
    assert seen == [torch.float16, torch.float32, torch.float16, torch.float32]


def test_attention_gets_one_tensor_as_query_key_and_value() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval().requires_grad_(False)
    cast_layers(attention, torch.bfloat16)
    seen: list[tuple[Tensor, ...]] = []
    attention.register_forward_pre_hook(lambda layer, args: seen.append(args))
    x = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    output, _ = attention(x, x, x, need_weights=False)
    ((query, key, value),) = seen
    assert query is key is value
    assert output.dtype == query.dtype == torch.bfloat16


def test_pooled_features_are_not_rounded() -> None:
    """A mean in bfloat16 would have 8 digits: its numbers would be those of bfloat16."""
    extractor = build_shallow("efficientnet-lite0", "precision=bfloat16", CPU)
    maps = torch.full((1, 1280, 7, 7), 1.0, dtype=torch.bfloat16)
    maps[:, :, 0, 0] = 1.0078125
    pooled = extractor.network.outputs(maps)["pre_logits"]
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, torch.full((1, 1280), 1 + 0.0078125 / 49))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ExtractorError, match="no precision 'fp8'; there are float32, tf32, bfl"):
        make_extractor("digits?precision=fp8", CPU)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_features_that_are_pooled_in_another_precision_are_of_another_set(precision: str) -> None:
    """Sets of earlier versions pooled in bfloat16 and float16; of those no set is continued."""
    spec = make_extractor(f"untrained-digits?precision={precision}", torch.device("cpu")).spec
    assert ("pooling" in spec) == (precision in ("bfloat16", "float16"))
