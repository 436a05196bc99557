"""A map of a few numbers as colours over an image.

As in Kynkaanniemi et al. 2023, the map is upsampled with Lanczos's filter to the size of the image.
Here it is upsampled as floats, then stretched to 0..1, and coloured from blue (least) to yellow
(most); the overlay is

    0.5 image + 0.5 colours
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_OPACITY = 0.5
_COLORMAP = "viridis"  # as bright as the value is large, to every eye


def upsample_heatmap(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map float32 [h, w] by Lanczos's filter to float32 [height, width]."""
    size = (width, height)
    return np.asarray(
        Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.LANCZOS)
    )


def stretch_to_unit(values: np.ndarray) -> np.ndarray:
    """The smallest becomes 0, the largest 1; 0 everywhere if all are equal."""
    low, high = float(values.min()), float(values.max())
    # Of a map that is flat but for rounding, the rounding must not be shown.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(values.shape)
    return (values.astype(np.float64) - low) / (high - low)


def color_heatmap(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map float32 [h, w] as colours, uint8 [height, width, 3]."""
    import matplotlib

    colors = matplotlib.colormaps[_COLORMAP](
        stretch_to_unit(upsample_heatmap(heat, height, width)), bytes=True
    )
    return np.asarray(colors)[..., :3]


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """image uint8 [3, height, width] under a map float32 [h, w]: uint8 [height, width, 3]."""
    colors = color_heatmap(heat, *image.shape[1:])
    mixed = (1 - _OPACITY) * image.transpose(1, 2, 0) + _OPACITY * colors
    return np.rint(mixed).astype(np.uint8)
