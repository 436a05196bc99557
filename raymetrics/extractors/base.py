"""What an extractor is, and the one kind that we have: a network that sees fixed blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Extractor(Protocol):
    """Images to features. One forward pass gives all its columns."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Mapping[str, int]:
        """The dimension of every column, e.g. {"pre_logits": 1280, "logits": 1000}."""

    @property
    def spec(self) -> Mapping[str, object]:
        """All that changes its numbers: name, digest of the weights, resize convention."""

    @property
    def block(self) -> int:
        """The one batch size that it computes with; see `raymetrics.blocks`."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the columns of `logits` stand for; empty where there are no logits."""

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """images uint8 [n, 3, h, w] -> {column: float32 [n, d]}."""


@dataclass(frozen=True, eq=False)
class NetworkExtractor:
    """A torch network: `forward` maps images uint8 [n, 3, h, w] to one tensor per column."""

    name: str
    columns: Mapping[str, int]
    resize: str
    weights: str  # SHA-256
    class_names: tuple[str, ...]
    forward: Callable[[Tensor], tuple[Tensor, ...]] = field(repr=False)
    device: torch.device
    block: int = 16

    @property
    def spec(self) -> dict[str, object]:
        return {
            "name": self.name,
            "columns": dict(self.columns),
            "resize": self.resize,
            "weights_sha256": self.weights,
        }

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = self.forward(torch.from_numpy(images).to(self.device))
        return {
            name: output.float().cpu().numpy()
            for name, output in zip(self.columns, outputs, strict=True)
        }
