"""Grids of images, as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

_MIN_TILE_SIZE, MAX_TILE_SIZE = 56, 112  # pixels of a tile
_TILE_GAP = 2


def thumbnail(image: np.ndarray) -> np.ndarray:
    """uint8 [3, h, w] -> uint8 [h', w', 3]: a large image made smaller, a small one enlarged by
    a whole factor, so that its pixels stay what they are."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    largest = max(pixels.shape[:2])
    if largest > MAX_TILE_SIZE:
        picture = Image.fromarray(pixels)
        picture.thumbnail((MAX_TILE_SIZE, MAX_TILE_SIZE), Image.Resampling.LANCZOS)
        return np.asarray(picture)
    factor = max(1, _MIN_TILE_SIZE // largest)
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def tile_grid(tiles: Sequence[np.ndarray], columns: int) -> Image.Image:
    """Tiles uint8 [h, w, 3] of one size side by side, row by row, on white."""
    height, width, _ = tiles[0].shape
    step_y, step_x = height + _TILE_GAP, width + _TILE_GAP
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * step_y - _TILE_GAP, columns * step_x - _TILE_GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * step_y, i % columns * step_x
        canvas[y : y + height, x : x + width] = tile
    return Image.fromarray(canvas)


def data_uri(image: Image.Image) -> str:
    """The picture as a PNG inside a page."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
