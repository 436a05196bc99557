"""Lay a map of a few numbers as colors over an image.

As in Kynkäänniemi et al. 2023, the map is upsampled with Lanczos's filter to the size of the image.
Here it is upsampled as floats, then stretched to 0..1, and colored from blue (least) to yellow
(most).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from raymetrics.errors import RaymetricsError
from raymetrics.heatmaps.colors import color_values, require_colors

_HEAT_WEIGHT = 2  # of the colors in a sum; that of the authors' program


def blend_half(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return 0.5 image + 0.5 colors, all in 0..255."""
    return 0.5 * image + 0.5 * colors


def blend_sum(image: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return 2 colors + image, stretched to 0..255, as the authors' program shows its heatmaps.

    The image is stretched to 0..1 before. image, colors: [h, w, 3] in 0..255.
    """
    total = _HEAT_WEIGHT * (colors / 255) + stretch_to_unit(image)
    return 255 * stretch_to_unit(total)


BLENDS = {"half": blend_half, "sum": blend_sum}


@dataclass(frozen=True)
class OverlayStyle:
    """The colors of a map, "viridis" or "parula", and how they are blended with the image.

    blend: "half" or "sum". Raises RaymetricsError for other words.
    """

    colors: str = "viridis"
    blend: str = "half"

    def __post_init__(self) -> None:
        require_colors(self.colors)
        if self.blend not in BLENDS:
            raise RaymetricsError(f"blend is {self.blend!r}; there are {', '.join(BLENDS)}")

    def describe(self) -> str:
        """Describe in words how pictures are made."""
        shares = {
            "half": "half image, half map",
            "sum": f"image + {_HEAT_WEIGHT} times the map, stretched to 0..255",
        }[self.blend]
        colors = "colors like parula" if self.colors == "parula" else f"the colors {self.colors}"
        return f"{shares}; the map is upsampled by Lanczos's filter, and has {colors}"


DEFAULT_STYLE = OverlayStyle()


def upsample_heatmap(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a map float32 [h, w] by Lanczos's filter as float32 [height, width]."""
    size = (width, height)
    return np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
    )


def stretch_to_unit(values: np.ndarray) -> np.ndarray:
    """Return the values scaled: 0 for the smallest, 1 for the largest; 0 if all are equal."""
    low, high = float(values.min()), float(values.max())
    # Rounding errors of a flat map must not be shown.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(values.shape)
    return (values.astype(np.float64) - low) / (high - low)


def color_heatmap(
    heat: np.ndarray, height: int, width: int, style: OverlayStyle = DEFAULT_STYLE
) -> np.ndarray:
    """Return a map float32 [h, w] as colors, uint8 [height, width, 3]."""
    return color_values(stretch_to_unit(upsample_heatmap(heat, height, width)), style.colors)


def overlay(image: np.ndarray, heat: np.ndarray, style: OverlayStyle = DEFAULT_STYLE) -> np.ndarray:
    """Return an image under a map, uint8 [height, width, 3].

    image: uint8 [3, height, width]; heat: float32 [h, w].
    """
    _, height, width = image.shape
    colors = color_heatmap(heat, height, width, style)
    blended = BLENDS[style.blend](image.transpose(1, 2, 0), colors)
    return np.rint(blended).astype(np.uint8)
