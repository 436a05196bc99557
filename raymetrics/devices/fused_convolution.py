"""Convolve, add the bias, and apply a ReLU in one operation, so that a GPU writes the map once."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

log = logging.getLogger(__name__)

# Convolutions for which cuDNN has no such operation on this machine. Each is a decision of its own,
# so that the bits of a network do not depend on other networks of the process.
_refused: set[Hashable] = set()


def convolution_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Compute relu(conv2d(x, weight) + bias), [n, c', h', w'] in the type of the weights.

    x: floats [n, c, h, w]; weight: floats [c', c / groups, kh, kw]; bias: floats [c'] or None. A
    GPU uses cuDNN's operation; if cuDNN refuses this convolution, and on a CPU, two operations
    compute the same.
    """
    x = x.to(weight.dtype)
    if x.is_cuda and torch.backends.cudnn.enabled and torch.backends.cudnn.is_available():
        fused = _ask_cudnn(x, weight, bias, stride, padding, dilation, groups)
        if fused is not None:
            return fused
    return conv2d(x, weight, bias, stride, padding, dilation, groups).relu_()


def _ask_cudnn(x: Tensor, weight: Tensor, bias: Tensor | None, *shape: Any) -> Tensor | None:
    """Compute a convolution with ReLU by cuDNN's operation; None if cuDNN refuses it."""
    cudnn: Any = torch.backends.cudnn
    digits = cudnn.conv.fp32_precision
    key = (x.device, x.dtype, x.shape, x.stride(), weight.shape, weight.stride(), *shape, digits)
    if key in _refused:
        return None
    try:
        return torch.cudnn_convolution_relu(x, weight, bias, *shape)
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except RuntimeError as error:
        if not _refused:
            log.warning("cuDNN convolves without the ReLU, which takes longer: %s", error)
        _refused.add(key)
        return None


class ConvolutionRelu(nn.Module):
    """A convolution and the ReLU behind it: floats [n, c, h, w] -> floats [n, c', h', w']."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        c: Any = self.convolution
        return convolution_relu(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)
