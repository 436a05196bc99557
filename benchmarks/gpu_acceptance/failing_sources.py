"""Generators that break a GPU, and an extractor that costs nothing, for the failures phase."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

_BROKEN_SAMPLE = 40
_SMALL_SHARE = 0.02  # of the GPU's memory


class DeviceAssert:
    """Gray images; sample 40 indexes out of range on the GPU, after which no call of it works."""

    trial = False  # the driver makes no sample, so that its own GPU stays whole

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Generate images uint8 [n, 3, 8, 8]."""
        table = torch.zeros(_BROKEN_SAMPLE, dtype=torch.uint8, device="cuda")
        index = torch.from_numpy(np.where(sample_ids == _BROKEN_SAMPLE, 10**6, 0)).cuda()
        gray = table[index].cpu().numpy()
        return np.broadcast_to(gray[:, None, None, None], (len(gray), 3, 8, 8)).copy()


class OutOfMemory:
    """Needs more of the GPU's memory than the process may take."""

    trial = False

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Raise torch.OutOfMemoryError."""
        torch.cuda.set_per_process_memory_fraction(_SMALL_SHARE)
        _, total = torch.cuda.mem_get_info()
        size = int(2 * _SMALL_SHARE * total)
        images = torch.zeros(size, dtype=torch.uint8, device="cuda")[: len(sample_ids) * 192]
        return images.view(-1, 3, 8, 8).cpu().numpy()


class MeanColors:
    """uint8 [n, 3, h, w] -> float32 [n, 3]."""

    columns: ClassVar[dict[str, int]] = {"features": 3}
    spec: ClassVar[dict[str, object]] = {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Compute the mean of every channel."""
        return images.mean(axis=(2, 3), dtype=np.float32)
