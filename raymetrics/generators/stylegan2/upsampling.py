"""Upsample by two with a low-pass filter (Karras et al. 2020a, section 2; Zhang 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d


def separable_filter(taps: Sequence[float]) -> Tensor:
    """Return the outer product of the taps with themselves, scaled to sum 1, float32 [k, k]."""
    line = torch.tensor(taps, dtype=torch.float32)
    square = line.outer(line)
    return square / square.sum()


def upsample(x: Tensor, fir: Tensor) -> Tensor:
    """Upsample x [n, c, h, w] to [n, c, 2h, 2w].

    Inserts zeros between the pixels, then applies four times the filter.
    """
    h, w = x.shape[2:]
    k = len(fir)
    full = conv_transpose2d(x, _for_channels(4 * fir, x), stride=2, groups=x.shape[1])
    start = k - 1 - (k + 1) // 2
    return full[:, :, start : start + 2 * h, start : start + 2 * w]


def upsampling_convolution(x: Tensor, weight: Tensor, fir: Tensor) -> Tensor:
    """Upsample x [n, i, h, w] and convolve it with a weight [o, i, 3, 3], to [n, o, 2h, 2w].

    Inserts zeros between the pixels, convolves (true convolution) with the weight, then applies
    four times the filter.
    """
    h, w = x.shape[2:]
    x = conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    kernel = _for_channels(4 * fir.flip(0, 1), x)
    x = conv2d(x, kernel, padding=(len(fir) - 1) // 2, groups=x.shape[1])
    return x[:, :, : 2 * h, : 2 * w]  # a filter of an odd length makes one row and column more


def _for_channels(kernel: Tensor, x: Tensor) -> Tensor:
    """Return a kernel [k, k] for each channel of x alone, [c, 1, k, k], in the precision of x."""
    return kernel.to(x.dtype).repeat(x.shape[1], 1, 1, 1)
