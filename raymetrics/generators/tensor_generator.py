"""Share what generators have in common that compute with torch: images stay on their device.

torch is imported where it is used, so that sources can be described and listed without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from raymetrics.fixed_batches import run_in_fixed_batches

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def as_tensor(array: np.ndarray) -> Tensor:
    """Return an array as a tensor on the CPU, which shares the memory of the array if it can."""
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


class TensorGenerator(ABC):
    """A generator whose `tensors` make the images on a device; a call copies them to an array."""

    @abstractmethod
    def tensors(self, sample_ids: np.ndarray) -> Tensor:
        """Generate images uint8 [n, 3, h, w] on the device from sample ids int64 [n]."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Generate images uint8 [n, 3, h, w] from sample ids int64 [n]; raises as `tensors`."""
        return self.tensors(sample_ids).cpu().numpy()


class LatentTensorGenerator(TensorGenerator):
    """A latent generator whose networks run on a device, in batches of `block` rows.

    Its latents stay on the device from the mapping to the images, unless a caller asks for them. A
    generator without a mapping network keeps the mapping of this class, which returns z.
    """

    block: int
    device: torch.device

    @abstractmethod
    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """Draw z float32 [n, z], standard normal, for sample ids int64 [n]."""

    @abstractmethod
    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """Return the classes of the samples, int64 [n]; None without classes."""

    def map_samples(
        self, sample_ids: np.ndarray, z: np.ndarray, labels: np.ndarray | None
    ) -> Tensor:
        """Map z float32 [n, z] and labels, int64 [n] or None, of samples to w on the device.

        Returns float32 [n, w].
        """
        return as_tensor(z).to(self.device)

    @abstractmethod
    def synthesize_samples(self, sample_ids: np.ndarray, w: Tensor) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] of samples from w float32 [n, w] on the device."""

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Map z float32 [n, z] to w float32 [n, w]; labels: int64 [n], None without classes."""
        return self.map_samples(np.arange(len(z)), z, labels).cpu().numpy()

    def synthesize_tensors(self, w: np.ndarray) -> Tensor:
        """Synthesize images uint8 [n, 3, h, w] on the device from w float32 [n, w]."""
        return self.synthesize_samples(np.arange(len(w)), as_tensor(w).to(self.device))

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w]."""
        return self.synthesize_tensors(w).cpu().numpy()

    def tensors(self, sample_ids: np.ndarray) -> Tensor:
        """Generate images uint8 [n, 3, h, w] on the device from sample ids int64 [n]."""
        w = self.map_samples(sample_ids, self.draw(sample_ids), self.labels(sample_ids))
        return self.synthesize_samples(sample_ids, w)

    def run(
        self, function: Callable[[Tensor], dict[str, Tensor]], ids: np.ndarray, rows: Tensor
    ) -> dict[str, Tensor]:
        """Run a network without gradients, each row at its sample's place in a fixed batch.

        function: maps rows [block, ...] to named tensors. ids: int64 [n]. rows: [n, ...], on the
        device. Returns named tensors of n rows.
        """
        import torch

        return run_in_fixed_batches(torch.inference_mode()(function), ids, rows, self.block)
