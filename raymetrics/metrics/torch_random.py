"""Draw what a generator of torch draws on a CPU, without torch.

Both torch and numpy have the Mersenne twister, but make other numbers of its bits.
"""

from __future__ import annotations

import numpy as np

# Normal numbers are made of 16 uniform ones at a time.
SMALLEST_NORMALS = 16


class TorchRandom:
    """The random numbers of `torch.Generator("cpu").manual_seed(seed)`, in the same order."""

    def __init__(self, seed: int) -> None:
        self._twister = np.random.RandomState(seed)

    def permutation_start(self, count: int, length: int) -> np.ndarray:
        """Draw the first positions of a permutation, int64 [length]: randperm(count)[:length].

        Draws the bits of the whole permutation, as torch does.
        """
        offsets = self._bits(max(count - 1, 0)) % np.arange(count, 1, -1)
        positions = list(range(count))
        for i, offset in enumerate(offsets[:length].tolist()):
            positions[i], positions[i + offset] = positions[i + offset], positions[i]
        return np.array(positions[:length], np.int64)

    def normals(self, rows: int, columns: int) -> np.ndarray:
        """Draw normal numbers, float32 [rows, columns]: torch.randn(rows, columns).

        The last bit of some is another one, as it is of torch itself on other processors.
        ValueError for fewer than SMALLEST_NORMALS numbers, which torch makes in another way.
        """
        count = rows * columns
        if count < SMALLEST_NORMALS:
            raise ValueError(f"{count} normal numbers, expected at least {SMALLEST_NORMALS}")
        uniform, rest = self._uniforms(count), count % SMALLEST_NORMALS
        values = np.empty(count, np.float32)
        values[: count - rest] = _box_muller(uniform[: count - rest])
        if rest:
            values[-SMALLEST_NORMALS:] = _box_muller(self._uniforms(SMALLEST_NORMALS))
        return values.reshape(rows, columns)

    def _bits(self, count: int) -> np.ndarray:
        """Draw numbers of 32 bits, int64 [count]."""
        return self._twister.randint(0, 2**32, count, np.uint32).astype(np.int64)

    def _uniforms(self, count: int) -> np.ndarray:
        """Draw numbers from 0 to below 1 of 24 bits, float32 [count]."""
        return (self._bits(count) & (2**24 - 1)).astype(np.float32) * np.float32(2.0**-24)


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """Make normal numbers of each 8 pairs of uniform ones, float32 (Box & Muller 1958)."""
    first, second = uniform.reshape(-1, 2, SMALLEST_NORMALS // 2).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * np.log(1 - first))
    angle = (np.float32(2 * np.pi) * second).astype(np.float64)
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.astype(np.float32).ravel()
