"""How floats become bytes. Programs differ, by up to one grey level, so every rule has a name.

All map images float [n, 3, h, w] to uint8 and cut off what lies outside. Half precision is
widened to float32 first, as it has fewer numbers than there are grey levels; float32 and
float64 stay what they are. NaN and infinity are no colours: see `checked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError


def nvidia(images: Tensor) -> Tensor:
    """From -1..1: 127.5 (x + 1) to the nearest, as NVIDIA's generators do: 127.5 x + 128, cut."""
    return _clip_to_uint8(_widen(images) * 127.5 + 128)


def signed_truncate(images: Tensor) -> Tensor:
    """From -1..1: 127.5 (x + 1), truncated, as in guided-diffusion."""
    return _clip_to_uint8((_widen(images) + 1) * 127.5)


def unit_round(images: Tensor) -> Tensor:
    """From 0..1: 255 x, rounded to the nearest, as diffusers does."""
    return _clip_to_uint8((_widen(images) * 255).round())


def unit_truncate(images: Tensor) -> Tensor:
    """From 0..1: 255 x, truncated, as torchvision's ToPILImage does."""
    return _clip_to_uint8(_widen(images) * 255)


def _widen(images: Tensor) -> Tensor:
    return images.float() if images.element_size() < 4 else images


def _clip_to_uint8(images: Tensor) -> Tensor:
    return images.clamp(0, 255).to(torch.uint8)


Rule = Callable[[Tensor], Tensor]

RULES: dict[str, Rule] = {
    "nvidia": nvidia,
    "signed-truncate": signed_truncate,
    "unit-round": unit_round,
    "unit-truncate": unit_truncate,
}


def to_uint8(images: Tensor, rule: Rule) -> dict[str, np.ndarray]:
    """`images` by the rule, or as they are if they are uint8; for `checked`.

    finite: bool [n], whether an image was of finite numbers. It is told and not refused here,
    as a block has empty places too, and what a network makes of those is nobody's image.
    """
    if images.dtype == torch.uint8:
        return {"images": images.cpu().numpy(), "finite": np.ones(len(images), np.bool_)}
    finite = _widen(images).isfinite().flatten(1).all(dim=1)
    return {"images": rule(images).cpu().numpy(), "finite": finite.cpu().numpy()}


def require_finite(
    outputs: Mapping[str, np.ndarray], sample_ids: np.ndarray, name: str
) -> np.ndarray:
    """The images of `in_bytes`. SourceError with the first sample whose numbers are not finite."""
    if not outputs["finite"].all():
        first = sample_ids[outputs["finite"].argmin()]
        raise SourceError(
            f"{name} gave NaN or infinity for sample {first}, expected finite numbers; look at its "
            "weights, or give it another precision if it computes in float16"
        )
    return outputs["images"]
