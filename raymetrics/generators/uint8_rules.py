"""Convert images of floats to uint8 by a named rule; rules differ by up to one grey level.

Every rule maps images float [n, 3, h, w] to uint8 and clips values outside of the range. Half
precision is widened to float32 first, as it has fewer numbers than there are grey levels; float32
and float64 are used unchanged. `require_finite` refuses NaN and infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError


def nvidia(images: Tensor) -> Tensor:
    """Convert from -1..1 by 127.5 x + 128, clipped and truncated, as NVIDIA's generators do.

    The result is 127.5 (x + 1), rounded to the nearest.
    """
    return _clip_to_uint8(_widen(images) * 127.5 + 128)


def signed_truncate(images: Tensor) -> Tensor:
    """Convert from -1..1 by 127.5 (x + 1), truncated, as guided-diffusion does."""
    return _clip_to_uint8((_widen(images) + 1) * 127.5)


def biggan(images: Tensor) -> Tensor:
    """Convert from -1..1 by 128 (x + 1), truncated, as BigGAN's published programs do."""
    return _clip_to_uint8((_widen(images) + 1) * 128)


def unit_round(images: Tensor) -> Tensor:
    """Convert from 0..1 by 255 x, rounded to the nearest, as diffusers does."""
    return _clip_to_uint8((_widen(images) * 255).round())


def unit_truncate(images: Tensor) -> Tensor:
    """Convert from 0..1 by 255 x, truncated, as torchvision's ToPILImage does."""
    return _clip_to_uint8(_widen(images) * 255)


def _widen(images: Tensor) -> Tensor:
    return images.float() if images.element_size() < 4 else images


def _clip_to_uint8(images: Tensor) -> Tensor:
    return images.clamp(0, 255).to(torch.uint8)


Rule = Callable[[Tensor], Tensor]

RULES: dict[str, Rule] = {
    "nvidia": nvidia,
    "signed-truncate": signed_truncate,
    "biggan": biggan,
    "unit-round": unit_round,
    "unit-truncate": unit_truncate,
}


def to_uint8(images: Tensor, rule: Rule) -> dict[str, Tensor]:
    """Convert images by a rule; images that are uint8 already stay unchanged.

    Returns {"images": uint8 [n, 3, h, w], "not_finite": bool [n], whether an image has a number
    that is not finite}, on the device of the images and without waiting for it, for
    `require_finite`. This function does not refuse such images, as a batch also has empty places,
    whose outputs are no sample's image.
    """
    if images.dtype == torch.uint8:
        return {"images": images, "not_finite": images.new_zeros(len(images), dtype=torch.bool)}
    finite = _widen(images).isfinite().flatten(1).all(dim=1)
    return {"images": rule(images), "not_finite": ~finite}


def require_finite(outputs: Mapping[str, Tensor], sample_ids: np.ndarray, name: str) -> Tensor:
    """Return the images of `to_uint8`.

    Raises SourceError, with the first sample whose numbers are not finite, if one is not. This
    waits for the device, so a caller with several batches calls it once for all of them.
    """
    not_finite = outputs["not_finite"].cpu().numpy()
    if not_finite.any():
        first = sample_ids[not_finite.argmax()]
        raise SourceError(
            f"{name} gave NaN or infinity for sample {first}, expected finite numbers; look at its "
            "weights, or give it another precision if it computes in float16"
        )
    return outputs["images"]
