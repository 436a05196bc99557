"""Networks on a GPU: without one, by tensors that have a device and no numbers; with one, truly.

Without a GPU this does not reach: what is captured as a CUDA graph and replayed, cuDNN's
convolution with its ReLU (its place takes a function that has the same contract, see
tests/devices), the transfer of weights to the device, and all numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from raymetrics.extractors import PUBLISHED_NETWORKS, base, published_network
from raymetrics.extractors.base import NetworkExtractor, extract_tensors
from raymetrics.extractors.numerics import Numerics, default_numerics
from raymetrics.extractors.precision import PRECISIONS
from raymetrics.extractors.resize import CONVENTIONS, resize
from tests.helpers.fake_cuda import CUDA, fake_cuda, to_fake_cuda
from tests.helpers.shallow_networks import DISTINCT_NETWORKS, build_shallow, leave_weights_unset

CPU = torch.device("cpu")


def convolve_like_cudnn(x: Tensor, weight: Tensor, bias: Tensor | None, *shape: object) -> Tensor:
    assert x.is_cuda
    assert x.dtype == weight.dtype == (x.dtype if bias is None else bias.dtype)
    return conv2d(x, weight, bias, *shape).relu()


@pytest.fixture
def plain_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    """No CUDA graphs and no kernels of cuDNN, which need a GPU."""
    monkeypatch.setattr(base, "capture_cuda_graph", None)
    monkeypatch.setattr(torch, "cudnn_convolution_relu", convolve_like_cudnn)


@pytest.fixture
def fake_extractor(request, monkeypatch, plain_runner) -> Iterator[NetworkExtractor]:
    """A published network with all columns on the fake device, in a precision."""
    name, precision = request.param
    leave_weights_unset(monkeypatch)
    columns = ",".join(published_network(name).outputs)
    built = build_shallow(name, f"precision={precision}&columns={columns}", CPU)
    with fake_cuda():
        to_fake_cuda(built.network)
        yield replace(built, device=CUDA, numerics=default_numerics(CUDA, precision))


@pytest.mark.parametrize(
    "fake_extractor",
    [(name, precision) for name in DISTINCT_NETWORKS for precision in PRECISIONS],
    indirect=True,
    ids=lambda pair: "-".join(pair),
)
def test_everything_stays_on_the_device(fake_extractor, monkeypatch) -> None:
    """No tensor of the host takes part, and the host waits for no number of the device."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a tensor of the device is read by the host")

    images = torch.zeros(2, 3, 70, 90, dtype=torch.uint8, device=CUDA)
    for method in ("cpu", "numpy", "item", "tolist", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(Tensor, method, refuse)
    features = fake_extractor.tensors(images)
    assert {name: (x.device.type, x.dtype, tuple(x.shape)) for name, x in features.items()} == {
        name: ("cuda", torch.float32, (2, d)) for name, d in fake_extractor.columns.items()
    }


@pytest.mark.parametrize("fake_extractor", [("digits", "bfloat16")], indirect=True)
def test_calls_and_fixed_batches_give_arrays_and_tensors(fake_extractor) -> None:
    images = np.zeros((5, 3, 20, 30), np.uint8)
    for name, values in fake_extractor(images).items():
        assert (values.dtype, values.shape) == (np.float32, (5, fake_extractor.columns[name]))
    ids = np.array([3, 250, 260, 7, 1])
    found = extract_tensors(fake_extractor, ids, torch.from_numpy(images))
    for name, values in found.items():
        assert values.device.type == "cuda"
        assert tuple(values.shape) == (5, fake_extractor.columns[name])


@pytest.mark.parametrize("fake_extractor", [("efficientnet-lite0", "float16")], indirect=True)
def test_maps_come_back_to_the_host(fake_extractor) -> None:
    images = np.zeros((2, 3, 20, 30), np.uint8)
    maps = fake_extractor.activations(images)
    assert (maps.dtype, maps.shape) == (np.float32, (2, 1280, 7, 7))
    found = fake_extractor.apply_to_map(images, lambda maps, outputs: {"map": maps.float()})
    assert found["map"].shape == maps.shape


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_resize_copies_nothing_to_the_device_twice(convention: str, monkeypatch) -> None:
    with fake_cuda():
        images = torch.zeros(2, 3, 70, 90, device=CUDA)
        first = resize(images, 32, convention)
        assert first.device.type == "cuda"
        for name in ("tensor", "from_numpy", "arange", "as_tensor"):
            monkeypatch.setattr(torch, name, None)
        monkeypatch.setattr(Tensor, "to", None)
        assert resize(images, 32, convention).shape == first.shape


# What follows needs a GPU.

REFERENCE = "inception", "vgg16", "swav-resnet50", "clip-vit-b-32", "dinov2-vit-s-14", "digits"


@cache
def on(device_name: str, name: str, query: str = "") -> NetworkExtractor:
    return build_shallow(name, query or "precision=float32", torch.device(device_name), layers=2)


def noise(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, 60, 80), dtype=torch.uint8, generator=generator)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PUBLISHED_NETWORKS)
def test_a_gpu_computes_what_a_cpu_does(name: str) -> None:
    images = noise(2).numpy()
    actual = on("cuda", name)(images)
    for column, values in on("cpu", name)(images).items():
        assert np.abs(actual[column] - values).max() < 2e-4 * np.abs(values).max(), column


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", REFERENCE)
def test_a_graph_has_the_bits_of_its_kernels(name: str, precision: str) -> None:
    images = noise(8).to(CUDA)
    graph, plain = (on("cuda", name, f"precision={precision}&graph={g}") for g in ("yes", "no"))
    results = [graph.tensors(images) for _ in range(3)]
    for column, expected in plain.tensors(images).items():
        for features in results:
            assert torch.equal(features[column], expected), column


@pytest.mark.gpu
@pytest.mark.parametrize("name", REFERENCE)
def test_features_on_a_gpu_are_the_caller_s(name: str) -> None:
    extractor = on("cuda", name)
    first, second = noise(16).to(CUDA).chunk(2)
    expected = {column: values.cpu() for column, values in extractor.tensors(first).items()}
    kept = extractor.tensors(first)
    extractor.tensors(second)
    for column, values in kept.items():
        assert torch.equal(values.cpu(), expected[column])
        values.zero_()


@pytest.mark.gpu
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_gpu_resizes_as_a_cpu_does(convention: str) -> None:
    images = noise(2).float()
    expected = resize(images, 48, convention)
    exact = convention.startswith(("clip", "pillow-", "shorter-side", "torchvision-"))
    actual = resize(images.to(CUDA), 48, convention).cpu()
    torch.testing.assert_close(actual, expected, rtol=0, atol=0 if exact else 1e-2)


@pytest.mark.gpu
def test_layouts_on_a_gpu_change_only_the_last_bits() -> None:
    extractor, images = on("cuda", "inception"), noise(4).to(CUDA)
    other = extractor.with_numerics(Numerics(64, "channels_last"))
    for column, expected in extractor.tensors(images).items():
        actual = other.tensors(images)[column]
        assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()
