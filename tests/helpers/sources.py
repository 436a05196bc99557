"""Define generators as users write them, for tests of `module:callable`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from raymetrics.distributed import neighbors
from raymetrics.npz_files import Arrays


def noise(sample_ids: np.ndarray) -> np.ndarray:
    """Return images of uniform noise, 28 x 28."""
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
        gray = ((sample_ids + self.offset) % 256).astype(np.uint8)
        return np.broadcast_to(gray[:, None, None, None], (len(gray), 3, 28, 28))

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        return sample_ids % 2


class GatedSource:
    """Noise whose samples from 500 on wait until a file is there: a run that cannot finish."""

    trial = False

    def __init__(self, gate: str) -> None:
        self.gate = Path(gate)
        self.spec: dict[str, object] = {}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        while (sample_ids >= 500).any() and not self.gate.exists():
            time.sleep(0.05)
        return noise(sample_ids)


def floats(sample_ids: np.ndarray) -> np.ndarray:
    """Break the contract: return other types than uint8."""
    return np.zeros((len(sample_ids), 3, 28, 28))


class SignedSource:
    """Floats in -1..1, that become bytes by a rule; any name of one may be asked for."""

    spec: ClassVar[dict[str, object]] = {}

    def __init__(self, uint8: str) -> None:
        self.uint8 = uint8

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.linspace(-1.2, 1.2, 16).reshape(4, 4), (len(sample_ids), 3, 4, 4))


def fails_at_sixty(sample_ids: np.ndarray) -> np.ndarray:
    """Fail in the middle of the samples."""
    if (sample_ids >= 60).any():
        raise RuntimeError("no such latent")
    return noise(sample_ids)


fails_at_sixty.trial = False  # type: ignore[attr-defined]


@torch.no_grad()
def decorated_noise(sample_ids: np.ndarray) -> np.ndarray:
    """Return noise, from a function with torch's decorator, as most users' generators have."""
    return noise(sample_ids)


class Instance:
    """An object that is made when its module is loaded."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        return noise(sample_ids)


instance = Instance()


class WrongLabels(Instance):
    """A generator that breaks the contract: one label for all."""

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        return np.zeros(1)


class DyingSearcher(neighbors.Searcher):
    """An actor whose process ends in the middle of a search, once for every set."""

    def find(self, part: neighbors.Partition, cell: neighbors.PartitionPair) -> Arrays:
        flag = Path(part.uri) / "died"
        if not flag.exists():
            flag.touch()
            os._exit(1)
        return super().find(part, cell)


def scattered_classes(sample_ids: np.ndarray) -> np.ndarray:
    """Return one of 6 classes for each id, int64 [n]; scattered, the later ones rarer."""
    scattered = (sample_ids * 2654435761 % 2**32) / 2**32
    return np.searchsorted([0.4, 0.7, 0.9, 0.96, 0.99], scattered, side="right")


class ClassSource:
    """Images of 2 x 2 pixels whose brightness is their class.

    length: where they end. gate: a file that samples from 200 on wait for. dies: a file that is
    made by the first worker that is asked for sample 100, which then ends.
    """

    def __init__(self, length: str = "", gate: str = "", dies: str = "") -> None:
        self.length = int(length) if length else None
        self.gate, self.dies = gate, dies
        self.spec: dict[str, object] = {}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        while self.gate and (sample_ids >= 200).any() and not Path(self.gate).exists():
            time.sleep(0.05)
        if self.dies and (sample_ids == 100).any() and not Path(self.dies).exists():
            Path(self.dies).touch()
            os._exit(1)
        gray = scattered_classes(sample_ids).astype(np.uint8)
        return np.broadcast_to(gray[:, None, None, None], (len(gray), 3, 2, 2))


class Classes:
    """An extractor whose Top-1 class is the brightness of an image."""

    columns: ClassVar[dict[str, int]] = {"features": 2, "logits": 6}
    class_names = ("cat", "dog", "owl", "fox", "elk", "auk")
    spec: ClassVar[dict[str, object]] = {}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        gray = images[:, 0, 0, 0]
        logits = np.eye(256, 6, dtype=np.float32)[gray]
        return {"features": np.stack([gray, 255 - gray], axis=1) / np.float32(7), "logits": logits}


class FailingSource:
    """Noise that goes wrong as the file `fault` in a folder says: "raises:37", "once:37",
    "exits:37", "replaces:PLACE", "none"; so that its spec does not tell.
    """

    trial = False

    def __init__(self, log: str) -> None:
        self.log = Path(log)
        self.kind, _, self.argument = (self.log / "fault").read_text().partition(":")
        self.spec: dict[str, object] = {"noise": True}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        if self.kind == "replaces":
            spec_file = Path(self.argument) / "dataset.json"
            spec_file.write_text(spec_file.read_text().replace('"noise": true', '"noise": false'))
            return noise(sample_ids)
        hits = [int(k) for k in self.argument.split(",") if self.argument and int(k) in sample_ids]
        if hits and self.kind == "exits":
            sys.exit(3)
        marker = self.log / f"{self.kind}-{hits}"
        if hits and not (self.kind == "once" and marker.exists()):
            marker.touch()
            raise ValueError(f"no such latent {hits[0]}")
        return noise(sample_ids)
