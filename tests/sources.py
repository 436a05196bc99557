"""Generators as users write them, for tests of `module:callable`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from raymetrics.streaming import neighbours


def noise(sample_ids: np.ndarray) -> np.ndarray:
    """Images of uniform noise, 28 x 28."""
    images = [
        np.random.default_rng(int(k)).integers(0, 256, (3, 28, 28), np.uint8) for k in sample_ids
    ]
    return np.stack(images)


class Brightness:
    """Grey images whose brightness is the sample id; its own spec; 1,000 samples."""

    length = 1000

    def __init__(self, offset: str = "0") -> None:
        self.offset = int(offset)
        self.spec = {"offset": self.offset}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        grey = ((sample_ids + self.offset) % 256).astype(np.uint8)
        return np.broadcast_to(grey[:, None, None, None], (len(grey), 3, 28, 28))

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        return sample_ids % 2


class Gated:
    """Noise whose samples from 500 on wait until a file is there: a run that cannot finish."""

    def __init__(self, gate: str) -> None:
        self.gate = Path(gate)
        self.spec: dict[str, object] = {}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        while (sample_ids >= 500).any() and not self.gate.exists():
            time.sleep(0.05)
        return noise(sample_ids)


def floats(sample_ids: np.ndarray) -> np.ndarray:
    """Breaks the contract: not uint8."""
    return np.zeros((len(sample_ids), 3, 28, 28))


class Signed:
    """Floats in -1..1, that become bytes by a rule; any name of one may be asked for."""

    spec: ClassVar[dict[str, object]] = {}

    def __init__(self, uint8: str) -> None:
        self.uint8 = uint8

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.linspace(-1.2, 1.2, 16).reshape(4, 4), (len(sample_ids), 3, 4, 4))


def fails_at_sixty(sample_ids: np.ndarray) -> np.ndarray:
    """Breaks in the middle."""
    if (sample_ids >= 60).any():
        raise RuntimeError("no such latent")
    return noise(sample_ids)


@torch.no_grad()
def decorated(sample_ids: np.ndarray) -> np.ndarray:
    """As most generators of networks are."""
    return noise(sample_ids)


class Instance:
    """An object that is made when its module is loaded."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return noise(sample_ids)


instance = Instance()


class WrongLabels(Instance):
    """Breaks the contract: one label for all."""

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        return np.zeros(1)


class DiesOnce(neighbours.Searcher):
    """An actor whose process ends in the middle of a search, once for every set."""

    def find(self, part: neighbours.Part, cell: neighbours.Cell) -> neighbours.Arrays:
        flag = Path(part.uri) / "died"
        if not flag.exists():
            flag.touch()
            os._exit(1)
        return super().find(part, cell)
