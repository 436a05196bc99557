"""Move images to a device and features back, while the device computes something else.

Copies to a GPU go through pinned memory, on a stream of their own; torch keeps pinned memory for
the next copy, and gives it out again only when the copy has ended. On a CPU nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


class Uploader:
    """Uploads tensors to a device, ahead of the work that is under way there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, values: Tensor) -> Tensor:
        """Return the values on the device; those that are there already stay as they are."""
        if values.device == self.device or self._stream is None:
            return values
        if values.device.type == "cuda":
            return values.to(self.device)  # from another GPU
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._stream):
            uploaded = values.pin_memory().to(self.device, non_blocking=True)
        computing.wait_stream(self._stream)
        uploaded.record_stream(computing)
        return uploaded


@dataclass(frozen=True)
class Download:
    """Arrays on their way from a device."""

    values: Mapping[str, Tensor]  # on the CPU; not filled before the event
    arrived: torch.cuda.Event | None

    @classmethod
    def begin(cls, values: Mapping[str, Tensor]) -> Download:
        """Begin to copy tensors to the CPU, without waiting for what computes them."""
        copies = {name: x.to("cpu", non_blocking=True) for name, x in values.items()}
        if not any(x.device.type == "cuda" for x in values.values()):
            return cls(copies, None)
        arrived = torch.cuda.Event()
        arrived.record()
        return cls(copies, arrived)

    def wait(self) -> dict[str, np.ndarray]:
        """Return the arrays as soon as they are here."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return {name: x.numpy() for name, x in self.values.items()}
