"""How floats become bytes. Programs differ, by up to one grey level, so every rule has a name.

All map images float [n, 3, h, w] to uint8 and cut off what lies outside.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def nvidia(images: Tensor) -> Tensor:
    """From -1..1: 127.5 (x + 1) to the nearest, as NVIDIA's generators do: 127.5 x + 128, cut."""
    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def signed_truncate(images: Tensor) -> Tensor:
    """From -1..1: 127.5 (x + 1), truncated, as in guided-diffusion."""
    return ((images + 1) * 127.5).clamp(0, 255).to(torch.uint8)


def unit_round(images: Tensor) -> Tensor:
    """From 0..1: 255 x, rounded to the nearest, as diffusers does."""
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def unit_truncate(images: Tensor) -> Tensor:
    """From 0..1: 255 x, truncated, as torchvision's ToPILImage does."""
    return (images * 255).clamp(0, 255).to(torch.uint8)


RULES: dict[str, Callable[[Tensor], Tensor]] = {
    "nvidia": nvidia,
    "signed-truncate": signed_truncate,
    "unit-round": unit_round,
    "unit-truncate": unit_truncate,
}
