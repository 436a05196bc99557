"""Grids of images, as pictures."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

TILE = 56  # pixels; smaller images are enlarged by a whole factor up to this
GAP = 2


def grid(images: np.ndarray, columns: int) -> Image.Image:
    """images uint8 [n, 3, h, w] side by side, row by row, on white."""
    n, _, height, width = images.shape
    factor = max(1, TILE // max(height, width))
    tiles = images.transpose(0, 2, 3, 1).repeat(factor, axis=1).repeat(factor, axis=2)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    rows = -(-n // columns)
    canvas = np.full((rows * step_y - GAP, columns * step_x - GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * step_y, i % columns * step_x
        canvas[y : y + step_y - GAP, x : x + step_x - GAP] = tile
    return Image.fromarray(canvas)


def data_uri(image: Image.Image) -> str:
    """The picture as a PNG inside a page."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
