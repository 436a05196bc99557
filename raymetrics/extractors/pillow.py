"""Pillow's resize, bit for bit, for many images at once and on any device.

What the programs that read images with Pillow feed to their networks. Pillow resizes images of
uint8 in whole numbers: the filter's weights are multiples of 2^-22, and the result is rounded
after each of the two axes, so that their order matters by a few grey levels. It is across and
then down, as in Pillow 11 and before; Pillow 13 begins with the axis that shrinks more. All of
it is exact in float64.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_UNIT = 1 << 22  # Pillow's weights are whole multiples of 1 / UNIT
_BAND_WIDTH = 32


def _bilinear(x: np.ndarray) -> np.ndarray:
    """The triangle filter."""
    return np.maximum(1 - np.abs(x), 0)


def _bicubic(x: np.ndarray) -> np.ndarray:
    """Keys (1981), Eq. 4, with a = -1/2."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_FILTERS = {"bilinear": (_bilinear, 1.0), "bicubic": (_bicubic, 2.0)}  # with the half width


def _axis_weights(length: int, size: int, name: str) -> np.ndarray:
    """How an axis of `there` pixels becomes one of `size`: whole numbers, float64 [size, there].

    Where the image shrinks, the filter is widened, which is Pillow's antialiasing.
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
    """images float32 [n, 3, h, w] of whole numbers in 0..255 -> [n, 3, height, width], likewise.

    name: bilinear or bicubic.
    """
    return _resize_last_axis(
        _resize_last_axis(images.double(), width, name).mT, height, name
    ).mT.float()


def _resize_last_axis(images: Tensor, size: int, name: str) -> Tensor:
    """The last axis resized, and rounded: halves go up. float64."""
    length = images.shape[3]
    if length == size:
        return images
    sums = torch.cat([images[..., a:b] @ part.to(images.device)
                      for a, b, part in _weight_bands(length, size, name)], 3)  # fmt: skip
    return ((sums + _UNIT / 2) / _UNIT).floor_().clamp_(0, 255)


@lru_cache(maxsize=64)
def _weight_bands(length: int, size: int, name: str) -> list[tuple[int, int, Tensor]]:
    """The weights in bands of pixels that are next to each other: first and last place of what
    they need, and float64 [last - first, BAND]. Most weights are 0, and few of these are."""
    whole, band_list = _axis_weights(length, size, name), []
    for start in range(0, size, _BAND_WIDTH):
        band = whole[start : start + _BAND_WIDTH]
        used = np.flatnonzero(band.any(axis=0))
        first, last = int(used[0]), int(used[-1]) + 1
        band_list.append((first, last, torch.from_numpy(band[:, first:last].T.copy())))
    return band_list
