"""Pixels in 0..255 to what networks take. All map float32 images [n, 3, h, w]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def make_standardizer(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Callable:
    """The scale that takes a mean off every channel and divides it by a deviation, in 0..1."""

    def scale(images: Tensor) -> Tensor:
        shape = (1, 3, 1, 1)
        channel_mean = 255 * torch.tensor(mean, device=images.device).view(shape)
        channel_deviation = 255 * torch.tensor(deviation, device=images.device).view(shape)
        return (images - channel_mean) / channel_deviation

    return scale


def _scale_to_unit(images: Tensor) -> Tensor:
    """0..1."""
    return images / 255


def scale_to_signed(images: Tensor) -> Tensor:
    """-1..1."""
    return images / 127.5 - 1


def _keep_scale(images: Tensor) -> Tensor:
    """0..255."""
    return images


# The mean and the deviation of ImageNet's pixels, as torchvision and most others round them.
standardize_imagenet = make_standardizer((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "unit": _scale_to_unit,
    "signed": scale_to_signed,
    "imagenet": standardize_imagenet,
    "raw": _keep_scale,
}
