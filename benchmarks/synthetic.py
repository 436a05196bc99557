"""A generator and an extractor that cost almost nothing, to measure the stream alone.

Workers find them by PYTHONPATH, as `synthetic:images` and `synthetic:Features`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

DIMENSION = 2048


def images(sample_ids: np.ndarray) -> np.ndarray:
    """Make images, int64 [n] -> uint8 [n, 3, 1, 1], from the lowest byte of each id."""
    gray = (sample_ids % 256).astype(np.uint8)
    return np.broadcast_to(gray[:, None, None, None], (len(gray), 3, 1, 1))


class Features:
    """uint8 [n, 3, 1, 1] -> float32 [n, 2048]: the row of a table for the image's byte."""

    columns: ClassVar[dict[str, int]] = {"features": DIMENSION}
    spec: ClassVar[dict[str, object]] = {}
    block = 64

    def __init__(self) -> None:
        self.table = np.random.default_rng(0).standard_normal((256, DIMENSION), np.float32)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.table[images[:, 0, 0, 0]]
