"""Choose how many images a network makes at a time."""

from __future__ import annotations

from typing import Protocol

import torch

_LARGEST_ON_CPU = 16
# Pixels of a batch, such as 4 images of 256 x 256, whose features take one to three gigabytes.
_PIXELS_ON_CPU = 2**18
_LARGEST_ON_CUDA = 64
# The part of a card's memory for the features after one layer. Several such tensors are in memory
# at a time, and extractors share the card.
_SHARE_OF_MEMORY = 1 / 64
_FLOAT_BYTES = 4


class FeatureSizes(Protocol):
    """The sizes of a network that decide how many images fit into memory."""

    @property
    def resolution(self) -> int:
        """The height and the width of the images."""

    @property
    def largest_features(self) -> int:
        """The numbers in the largest features of an image."""


def default_block(shape: FeatureSizes, device: torch.device) -> int:
    """Return a batch size that keeps the device busy and fits into its memory."""
    if device.type != "cuda":
        return max(1, min(_LARGEST_ON_CPU, _PIXELS_ON_CPU // shape.resolution**2))
    memory = total_memory(device) * _SHARE_OF_MEMORY
    images = max(1, int(memory / (_FLOAT_BYTES * shape.largest_features)))
    return min(_LARGEST_ON_CUDA, 1 << (images.bit_length() - 1))


def total_memory(device: torch.device) -> int:
    """Return the bytes of memory of a GPU."""
    return torch.cuda.get_device_properties(device).total_memory
