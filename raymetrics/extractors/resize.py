"""Resize images by a named convention: programs that resize differently get other numbers.

Every convention maps images float32 [n, 3, h, w] in 0..255 to [n, 3, size, size]; only
`pillow_shorter_side` keeps the aspect ratio and gives another shape. All conventions except that
one and those that crop the center stretch the image to a square, as most programs of the field do.
Bicubic weights can be negative, so a result that is neither clipped nor rounded may leave 0..255 a
little.

The conventions of programs that read images with Pillow repeat Pillow's resize bit for bit, see
`resize_like_pillow`. Pillow does not compute them here: Pillow resizes one image at a time, on the
CPU, while these functions resize a whole batch on any device.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from raymetrics.devices.constants import cache_constants

_UNIT = 1 << 22  # Pillow's weights are whole multiples of 1 / _UNIT
_BAND_WIDTH = 32


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """Resize bilinearly as TensorFlow 1 does: pixel i is taken at i * in / out, not at pixel
    centers, without antialiasing.

    Inception's graph of 2015 resizes so, and with it TTUR, torch-fidelity, NVIDIA's programs and
    ADM.
    """
    return _tf1_bilinear_axis(_tf1_bilinear_axis(images, 3, size), 2, size)


def _tf1_bilinear_axis(images: Tensor, axis: int, size: int) -> Tensor:
    """Resize one axis by TensorFlow 1's bilinear rule."""
    low, high, fraction = _tf1_bilinear_weights(images.shape[axis], size, images.device)
    shape = [1] * images.dim()
    shape[axis] = size
    a, b = images.index_select(axis, low), images.index_select(axis, high)
    return a + (b - a) * fraction.view(shape)


@cache_constants
def _tf1_bilinear_weights(
    length: int, size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both neighbours of each pixel of the result, int64 [size], and its place between them.

    The place is float32 [size], 0 at the first neighbour and 1 at the second.
    """
    position = torch.arange(size, device=device, dtype=torch.float32) * (length / size)
    low = position.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    return low, high, position - low


def torch_bilinear(images: Tensor, size: int) -> Tensor:
    """Resize bilinearly at pixel centers without antialiasing, as pytorch-fid does."""
    return interpolate(images, (size, size), mode="bilinear", align_corners=False)


def clean_fid_bicubic(images: Tensor, size: int) -> Tensor:
    """Resize bicubically with antialiasing, clipped to 0..255 but not rounded, like clean-fid."""
    resized = interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


def torch_bilinear_antialias(images: Tensor, size: int) -> Tensor:
    """Resize bilinearly at pixel centers with antialiasing, the default of torchmetrics."""
    return interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def torch_bicubic(images: Tensor, size: int) -> Tensor:
    """Resize bicubically at pixel centers without antialiasing, neither clipped nor rounded, like
    CMMD's program."""
    return interpolate(images, (size, size), mode="bicubic", align_corners=False)


def torch_bicubic_antialias(images: Tensor, size: int) -> Tensor:
    """Resize bicubically with antialiasing, neither clipped nor rounded, like EDM2's program for
    DINOv2 and fd_evaluator's for FDr6."""
    return interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)


def pillow_bicubic(images: Tensor, size: int) -> Tensor:
    """Resize as Pillow's bicubic filter does, in whole numbers, like dgm-eval for DINOv2."""
    return resize_like_pillow(images, size, size, "bicubic")


def pillow_bilinear(images: Tensor, size: int) -> Tensor:
    """Resize as Pillow's bilinear filter does, in whole numbers, like SSCD for squares."""
    return resize_like_pillow(images, size, size, "bilinear")


def pillow_shorter_side(images: Tensor, size: int) -> Tensor:
    """Resize the shorter side to `size` as Pillow's bilinear filter does, without a crop, so that
    the result is [n, 3, size, w] or [n, 3, h, size], like dgm-eval for SwAV."""
    return resize_like_pillow(images, *_uncropped_size(images, size), "bilinear")


def clip_center_crop(images: Tensor, size: int) -> Tensor:
    """Resize the shorter side to `size` as Pillow's bicubic filter does, and crop the center, like
    CLIP's authors."""
    return _crop_center(images, size, size, "bicubic")


def torchvision_v1_crop(images: Tensor, size: int) -> Tensor:
    """Resize the shorter side to 256/224 of `size` as Pillow's bilinear filter does, and crop the
    center, like torchvision for its weights IMAGENET1K_V1."""
    return _crop_center(images, round(size * 256 / 224), size, "bilinear")


def torchvision_v2_crop(images: Tensor, size: int) -> Tensor:
    """Resize the shorter side to 232/224 of `size` as Pillow's bilinear filter does, and crop the
    center, like torchvision for its weights IMAGENET1K_V2."""
    return _crop_center(images, round(size * 232 / 224), size, "bilinear")


def _crop_center(images: Tensor, shorter_side: int, size: int, name: str) -> Tensor:
    """Resize the shorter side as a filter of Pillow's does, and crop the center [size, size]."""
    height, width = _uncropped_size(images, shorter_side)
    top, left = round((height - size) / 2), round((width - size) / 2)
    resized = resize_like_pillow(images, height, width, name)
    return resized[..., top : top + size, left : left + size]


def _uncropped_size(images: Tensor, size: int) -> tuple[int, int]:
    """Return height and width with the shorter side resized to `size`, the other rounded down."""
    height, width = images.shape[2:]
    short = min(height, width)
    return size * height // short, size * width // short


def _bilinear(x: np.ndarray) -> np.ndarray:
    """Evaluate the triangle filter."""
    return np.maximum(1 - np.abs(x), 0)


def _bicubic(x: np.ndarray) -> np.ndarray:
    """Evaluate the bicubic filter of Keys (1981), Eq. 4, with a = -1/2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


# By name: the filter, and half the width on which it is not zero.
_FILTERS = {"bilinear": (_bilinear, 1.0), "bicubic": (_bicubic, 2.0)}


def _axis_weights(length: int, size: int, name: str) -> np.ndarray:
    """Return Pillow's weights for an axis resized from `length` to `size` pixels.

    The weights are whole numbers (multiples of 1 / `_UNIT`), float64 [size, length]. If the image
    shrinks, the filter is widened: Pillow's antialiasing.
    """
    function, support = _FILTERS[name]
    scale = length / size
    stretch = max(scale, 1.0)
    center = (np.arange(size)[:, None] + 0.5) * scale
    first = np.floor(center - support * stretch + 0.5).clip(0)
    last = np.floor(center + support * stretch + 0.5).clip(max=length)
    pixel = np.arange(length)[None]
    filter_values = function((pixel - center + 0.5) / stretch)
    filter_values = np.where((first <= pixel) & (pixel < last), filter_values, 0)
    filter_values /= filter_values.sum(axis=1, keepdims=True)
    whole: np.ndarray = np.trunc(filter_values * _UNIT + np.copysign(0.5, filter_values))
    return whole


def resize_like_pillow(images: Tensor, height: int, width: int, name: str) -> Tensor:
    """Resize images to [n, 3, height, width] with the same bits as Pillow, on any device.

    images: float32 [n, 3, h, w] of whole numbers in 0..255, and so is the result. name: the filter,
    bilinear or bicubic.

    Pillow resizes images of uint8 in whole numbers: the weights of its filters are multiples of
    2^-22, and the result is rounded after each of the two axes, so that the order of the axes
    changes results by a few grey levels. The order here is across and then down, as in Pillow 11
    and before; Pillow 13 begins with the axis that shrinks more. float64 holds all of it exactly.
    """
    return _resize_last_axis(
        _resize_last_axis(images.double(), width, name).mT, height, name
    ).mT.float()


def _resize_last_axis(images: Tensor, size: int, name: str) -> Tensor:
    """Resize the last axis of float64 images, and round; halves are rounded up."""
    length = images.shape[3]
    if length == size:
        return images
    bands = _weight_bands(length, size, name, images.device)
    sums = torch.cat([images[..., a:b] @ weights for a, b, weights in bands], 3)
    return ((sums + _UNIT / 2) / _UNIT).floor_().clamp_(0, 255)


@cache_constants
def _weight_bands(
    length: int, size: int, name: str, device: torch.device
) -> list[tuple[int, int, Tensor]]:
    """Return the weights in bands of `_BAND_WIDTH` neighboring pixels of the result.

    Each band is (first, last, weights float64 [last - first, band]): the range of input pixels that
    the band depends on, and their weights. Bands leave out most weights that are 0.
    """
    whole, band_list = _axis_weights(length, size, name), []
    for start in range(0, size, _BAND_WIDTH):
        band = whole[start : start + _BAND_WIDTH]
        used = np.flatnonzero(band.any(axis=0))
        first, last = int(used[0]), int(used[-1]) + 1
        weights = torch.from_numpy(band[:, first:last].T.copy()).to(device)
        band_list.append((first, last, weights))
    return band_list


CONVENTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "tf1-bilinear": tf1_bilinear,
    "torch-bilinear": torch_bilinear,
    "clean": clean_fid_bicubic,
    "antialias": torch_bilinear_antialias,
    "clip": clip_center_crop,
    "pillow-bicubic": pillow_bicubic,
    "pillow-bilinear": pillow_bilinear,
    "shorter-side": pillow_shorter_side,
    "torch-bicubic": torch_bicubic,
    "torch-bicubic-antialias": torch_bicubic_antialias,
    "torchvision-v1": torchvision_v1_crop,
    "torchvision-v2": torchvision_v2_crop,
}
# The conventions that give squares, which most networks need.
SQUARE_CONVENTIONS = tuple(name for name in CONVENTIONS if name != "shorter-side")


def resize(images: Tensor, size: int, convention: str) -> Tensor:
    """Resize images float32 [n, 3, h, w] in 0..255 by the convention of this name."""
    return CONVENTIONS[convention](images, size)
