"""Lay a map of a few numbers as colors over an image.

As in Kynkäänniemi et al. 2023, the map is upsampled with Lanczos's filter to the size of the image.
Here it is upsampled as floats, then stretched to 0..1, and colored from blue (least) to yellow
(most); the overlay is

    0.5 image + 0.5 colors
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_OPACITY = 0.5
_COLORMAP = "viridis"  # brightness grows with the value, for color-blind readers too


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


def color_heatmap(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a map float32 [h, w] as colors, uint8 [height, width, 3]."""
    import matplotlib

    colors = matplotlib.colormaps[_COLORMAP](
        stretch_to_unit(upsample_heatmap(heat, height, width)), bytes=True
    )
    return np.asarray(colors)[..., :3]


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return an image under a map, uint8 [height, width, 3].

    image: uint8 [3, height, width]; heat: float32 [h, w].
    """
    colors = color_heatmap(heat, *image.shape[1:])
    mixed = (1 - _OPACITY) * image.transpose(1, 2, 0) + _OPACITY * colors
    return np.rint(mixed).astype(np.uint8)
