"""Resize conventions, by name. Two programs that resize differently do not measure the same.

All map float32 images [n, 3, h, w] in 0..255 to [n, 3, size, size], ignoring the aspect
ratio, as the field does.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import interpolate


def antialias_bicubic(images: Tensor, size: int) -> Tensor:
    """Bicubic with antialiasing, cut to 0..255 and not rounded."""
    resized = interpolate(images, (size, size), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 255)


CONVENTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "antialias-bicubic": antialias_bicubic,
}


def resize(images: Tensor, size: int, convention: str) -> Tensor:
    """images float32 [n, 3, h, w] -> [n, 3, size, size] by the named convention."""
    return CONVENTIONS[convention](images, size)
