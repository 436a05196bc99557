"""Pixels in 0..255 to what networks take. All map float32 images [n, 3, h, w]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def standardised(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Callable:
    """The scale that takes a mean off every channel and divides it by a deviation, in 0..1."""

    def scale(images: Tensor) -> Tensor:
        shape = (1, 3, 1, 1)
        low = 255 * torch.tensor(mean, device=images.device).view(shape)
        unit = 255 * torch.tensor(deviation, device=images.device).view(shape)
        return (images - low) / unit

    return scale


def unit(images: Tensor) -> Tensor:
    """0..1."""
    return images / 255


def signed(images: Tensor) -> Tensor:
    """-1..1."""
    return images / 127.5 - 1


def raw(images: Tensor) -> Tensor:
    """0..255."""
    return images


# The mean and the deviation of ImageNet's pixels, as torchvision and most others round them.
imagenet = standardised((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "unit": unit,
    "signed": signed,
    "imagenet": imagenet,
    "raw": raw,
}
