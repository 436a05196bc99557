"""Upsample by two with a low-pass filter (Karras et al. 2020a, section 2; Zhang 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad


def separable_filter(taps: Sequence[float]) -> Tensor:
    """Return the outer product of the taps with themselves, scaled to sum 1, float32 [k, k]."""
    line = torch.tensor(taps, dtype=torch.float32)
    square = line.outer(line)
    return square / square.sum()


def upsample(x: Tensor, fir: Tensor) -> Tensor:
    """Upsample x [n, c, h, w] to [n, c, 2h, 2w].

    Inserts zeros between the pixels, then applies four times the filter.
    """
    n, c, h, w = x.shape
    k = fir.shape[-1]
    full = conv_transpose2d(x.reshape(n * c, 1, h, w), 4 * fir[None, None], stride=2)
    start = k - 1 - (k + 1) // 2
    return full[:, :, start : start + 2 * h, start : start + 2 * w].reshape(n, c, 2 * h, 2 * w)


def upsampling_convolution(x: Tensor, weight: Tensor, fir: Tensor) -> Tensor:
    """Upsample x [n, i, h, w] and convolve it with a weight [o, i, 3, 3], to [n, o, 2h, 2w].

    Inserts zeros between the pixels, convolves (true convolution) with the weight, then applies
    four times the filter.
    """
    x = conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    n, c, h, w = x.shape
    k = fir.shape[-1]
    before, after = (k - 1) // 2, (k - 2) // 2
    x = pad(x.reshape(n * c, 1, h, w), (before, after, before, after))
    x = conv2d(x, 4 * fir.flip(0, 1)[None, None])
    return x.reshape(n, c, *x.shape[2:])
