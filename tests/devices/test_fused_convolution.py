"""A convolution with its ReLU: in two operations, or in cuDNN's own.

cuDNN's operation itself runs only on a GPU.
"""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from raymetrics.devices import fused_convolution
from raymetrics.devices.fused_convolution import ConvolutionRelu, convolution_relu
from raymetrics.devices.tf32 import set_tf32
from tests.helpers.fake_cuda import CUDA, fake_cuda

SHAPES = [
    {"kernel_size": 3},
    {"kernel_size": (1, 7), "padding": (0, 3), "bias": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "groups": 2},
]


def layer_of(shape: dict) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 8, **shape).requires_grad_(False)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_a_convolution_and_a_relu(shape: dict, device: torch.device) -> None:
    layer = layer_of(shape).to(device)
    x = torch.randn(2, 6, 12, 13, generator=torch.Generator().manual_seed(1)).to(device)
    original = x.clone()
    with set_tf32(False, device):
        actual, expected = ConvolutionRelu(layer)(x), layer(x).relu()
    assert (expected == 0).any()
    tolerance = 0 if device.type == "cpu" else 1e-5
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    assert torch.equal(x, original)


def test_the_type_is_that_of_the_weights(device: torch.device) -> None:
    layer = layer_of(SHAPES[0]).to(device, torch.bfloat16)
    x = torch.randn(2, 6, 12, 13, device=device)
    actual = ConvolutionRelu(layer)(x)
    assert actual.dtype == torch.bfloat16
    expected = layer(x.bfloat16()).relu()
    torch.testing.assert_close(actual, expected, rtol=2**-7, atol=2**-7)


class Cudnn:
    """Stands for cuDNN's operation, which has no fake one; refuses some convolutions."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal, self.calls = refusal, 0

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, *shape) -> Tensor:
        self.calls += 1
        assert x.is_cuda
        assert x.dtype == weight.dtype
        if self.refusal and weight.shape[2] == 3:
            raise self.refusal
        return conv2d(x, weight, bias, *shape).relu()


@pytest.fixture
def no_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_convolution, "_refused", set())


def convolve_twice(shape: dict, dtype: torch.dtype = torch.float32) -> tuple[int, ...]:
    with torch.device(CUDA):
        layer = nn.Conv2d(6, 8, **shape, dtype=dtype)
        x = torch.empty(2, 6, 12, 13)
    for _ in range(2):
        y = ConvolutionRelu(layer)(x)
        assert (y.device.type, y.dtype) == ("cuda", dtype)
    return tuple(y.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_asks_cudnn(shape, dtype, no_refusals, monkeypatch) -> None:
    cudnn = Cudnn()
    monkeypatch.setattr(torch, "cudnn_convolution_relu", cudnn)
    with fake_cuda():
        assert convolve_twice(shape, dtype)[:2] == (2, 8)
    assert cudnn.calls == 2


def test_what_cudnn_refuses_is_asked_once(no_refusals, monkeypatch, caplog) -> None:
    """Each convolution is decided alone: a refusal of one changes no bit of another."""
    cudnn = Cudnn(RuntimeError("FIND was unable to find an engine"))
    monkeypatch.setattr(torch, "cudnn_convolution_relu", cudnn)
    with fake_cuda(), caplog.at_level(logging.WARNING):
        assert convolve_twice(SHAPES[0]) == (2, 8, 10, 11)
        assert cudnn.calls == 1
        convolve_twice(SHAPES[2])
        assert cudnn.calls == 2
        convolve_twice(SHAPES[1])  # not refused
        assert cudnn.calls == 4
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("too large"), torch.AcceleratorError("CUDA error", 700)]
)
def test_errors_of_the_device_are_no_refusals(error, no_refusals, monkeypatch) -> None:
    monkeypatch.setattr(torch, "cudnn_convolution_relu", Cudnn(error))
    with fake_cuda(), pytest.raises(type(error)):
        convolve_twice(SHAPES[0])
    assert not fused_convolution._refused


def test_cudnn_may_be_switched_off(no_refusals, monkeypatch) -> None:
    cudnn = Cudnn()
    monkeypatch.setattr(torch, "cudnn_convolution_relu", cudnn)
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    with fake_cuda():
        convolve_twice(SHAPES[0])
    assert cudnn.calls == 0


def test_the_function_takes_what_the_layer_has(rng) -> None:
    layer = layer_of(SHAPES[2])
    x = torch.from_numpy(rng.normal(size=(1, 6, 9, 9))).float()
    actual = convolution_relu(x, layer.weight, layer.bias, (2, 2), (1, 1), (2, 2), 2)
    assert torch.equal(actual, layer(x).relu())
