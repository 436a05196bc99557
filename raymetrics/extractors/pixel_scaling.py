"""Scale pixels from 0..255 to the range of a network's input.

Every scale maps images float32 [n, 3, h, w] to images of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from raymetrics.devices.constants import cache_constants


def make_standardizer(mean: tuple[float, ...], deviation: tuple[float, ...]) -> Callable:
    """Return a scale that subtracts a mean from each channel and divides by a deviation.

    mean, deviation: one number for each channel, of pixels in 0..1.
    """

    def scale(images: Tensor) -> Tensor:
        return (images - _scaled_channels(mean, images.device)) / _scaled_channels(
            deviation, images.device
        )

    return scale


@cache_constants
def _scaled_channels(channels: tuple[float, ...], device: torch.device) -> Tensor:
    """Return a number for each channel, of pixels in 0..1, as float32 [1, 3, 1, 1] for 0..255."""
    return 255 * torch.tensor(channels, device=device).view(1, 3, 1, 1)


def _scale_to_unit(images: Tensor) -> Tensor:
    """Scale pixels to 0..1."""
    return images / 255


def scale_to_signed(images: Tensor) -> Tensor:
    """Scale pixels to -1..1."""
    return images / 127.5 - 1


def _keep_scale(images: Tensor) -> Tensor:
    """Return pixels in 0..255 unchanged."""
    return images


# The mean and the deviation of ImageNet's pixels, rounded as in torchvision and most programs.
standardize_imagenet = make_standardizer((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# The mean and the deviation of the pixels that CLIP was trained on, in OpenAI's program.
standardize_clip = make_standardizer(
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
)

SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "unit": _scale_to_unit,
    "signed": scale_to_signed,
    "imagenet": standardize_imagenet,
    "raw": _keep_scale,
}
