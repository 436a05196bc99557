"""Resize conventions, by name. Two programs that resize differently do not measure the same.

All map float32 images [n, 3, h, w] in 0..255 to [n, 3, size, size], still in 0..255. The first
four ignore the aspect ratio, as the field does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """TensorFlow 1's: bilinear, pixel i at i * in / out (not at pixel centres), no antialiasing.

    What the graph of 2015 does inside, and so TTUR, torch-fidelity, NVIDIA's programs, ADM.
    """
    return along(along(images, 3, size), 2, size)


def along(images: Tensor, axis: int, size: int) -> Tensor:
    """TensorFlow 1's bilinear resize of one axis."""
    there = images.shape[axis]
    position = torch.arange(size, device=images.device, dtype=torch.float32) * (there / size)
    low = position.floor().long().clamp(max=there - 1)
    high = (low + 1).clamp(max=there - 1)
    shape = [1] * images.dim()
    shape[axis] = size
    part = (position - low).view(shape)
    a, b = images.index_select(axis, low), images.index_select(axis, high)
    return a + (b - a) * part


def torch_bilinear(images: Tensor, size: int) -> Tensor:
    """Bilinear at pixel centres, no antialiasing: pytorch-fid's."""
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)


def clean(images: Tensor, size: int) -> Tensor:
    """Bicubic with antialiasing as Pillow's, cut to 0..255 and not rounded: clean-fid's."""
    resized = interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def antialias(images: Tensor, size: int) -> Tensor:
    """Bilinear at pixel centres with antialiasing: torchmetrics' default."""
    return interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


CONVENTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "tf1-bilinear": tf1_bilinear,
    "torch-bilinear": torch_bilinear,
    "clean": clean,
    "antialias": antialias,
}


def resize(images: Tensor, size: int, convention: str) -> Tensor:
    """images float32 [n, 3, h, w] -> [n, 3, size, size] by the named convention."""
    return CONVENTIONS[convention](images, size)
