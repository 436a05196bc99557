"""Resize conventions, by name. Two programs that resize differently do not measure the same.

All map float32 images [n, 3, h, w] in 0..255 to [n, 3, size, size], but for `shorter_side`.
All but `clip` and `shorter_side` ignore the aspect ratio, as the field does. Bicubic weights reach
below 0, so that what is neither cut nor rounded may leave 0..255 a little.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from raymetrics.extractors.pillow import resize_like_pillow


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """TensorFlow 1's: bilinear, pixel i at i * in / out (not at pixel centres), no antialiasing.

    What the graph of 2015 does inside, and so TTUR, torch-fidelity, NVIDIA's programs, ADM.
    """
    return _tf1_bilinear_axis(_tf1_bilinear_axis(images, 3, size), 2, size)


def _tf1_bilinear_axis(images: Tensor, axis: int, size: int) -> Tensor:
    """TensorFlow 1's bilinear resize of one axis."""
    length = images.shape[axis]
    position = torch.arange(size, device=images.device, dtype=torch.float32) * (length / size)
    low = position.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    shape = [1] * images.dim()
    shape[axis] = size
    fraction = (position - low).view(shape)
    a, b = images.index_select(axis, low), images.index_select(axis, high)
    return a + (b - a) * fraction


def torch_bilinear(images: Tensor, size: int) -> Tensor:
    """Bilinear at pixel centres, no antialiasing: pytorch-fid's."""
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)


def clean_fid_bicubic(images: Tensor, size: int) -> Tensor:
    """Bicubic with antialiasing as Pillow's, cut to 0..255 and not rounded: clean-fid's."""
    resized = interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def torch_bilinear_antialias(images: Tensor, size: int) -> Tensor:
    """Bilinear at pixel centres with antialiasing: torchmetrics' default."""
    return interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def torch_bicubic(images: Tensor, size: int) -> Tensor:
    """Bicubic at pixel centres, no antialiasing, neither cut nor rounded: CMMD's."""
    return interpolate(images, (size, size), mode="bicubic", align_corners=False)


def torch_bicubic_antialias(images: Tensor, size: int) -> Tensor:
    """Bicubic with antialiasing, neither cut nor rounded: EDM2's for DINOv2."""
    return interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)


def pillow_bicubic(images: Tensor, size: int) -> Tensor:
    """Pillow's bicubic with antialiasing, rounded to whole numbers: dgm-eval's for DINOv2."""
    return resize_like_pillow(images, size, size, "bicubic")


def pillow_shorter_side(images: Tensor, size: int) -> Tensor:
    """Pillow's bilinear with antialiasing, rounded; the aspect ratio is kept and nothing is cut
    off, so that the result is [n, 3, size, w] or [n, 3, h, size]: dgm-eval's for SwAV."""
    return resize_like_pillow(images, *_uncropped_size(images, size), "bilinear")


def clip_center_crop(images: Tensor, size: int) -> Tensor:
    """Shorter side to `size` by Pillow's bicubic, rounded; then the centre: CLIP's authors'."""
    height, width = _uncropped_size(images, size)
    top, left = round((height - size) / 2), round((width - size) / 2)
    resized = resize_like_pillow(images, height, width, "bicubic")
    return resized[..., top : top + size, left : left + size]


def _uncropped_size(images: Tensor, size: int) -> tuple[int, int]:
    """Height and width with `size` for the shorter side; the longer one is rounded down."""
    height, width = images.shape[2:]
    short = min(height, width)
    return size * height // short, size * width // short


CONVENTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "tf1-bilinear": tf1_bilinear,
    "torch-bilinear": torch_bilinear,
    "clean": clean_fid_bicubic,
    "antialias": torch_bilinear_antialias,
    "clip": clip_center_crop,
    "pillow-bicubic": pillow_bicubic,
    "shorter-side": pillow_shorter_side,
    "torch-bicubic": torch_bicubic,
    "torch-bicubic-antialias": torch_bicubic_antialias,
}
# What gives squares, which most networks need.
SQUARE_CONVENTIONS = tuple(name for name in CONVENTIONS if name != "shorter-side")


def resize(images: Tensor, size: int, convention: str) -> Tensor:
    """images float32 [n, 3, h, w] in 0..255, resized by the named convention."""
    return CONVENTIONS[convention](images, size)
