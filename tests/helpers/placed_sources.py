"""Define a generator and a network that write down where they run, and wait for all workers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import ray
from gpu_seats import seat
from sources import noise

EXPECTED = "expected"


class SeatedGenerator:
    """The noise of `sources.noise`, after as many workers have a place as the folder expects."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.spec: dict[str, object] = {}
        note_seat("generate", self.folder)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        if is_actor_process():
            wait_for_all(self.folder)
        return noise(sample_ids)


class SeatedNetwork:
    """An extractor of the mean and the largest value of an image."""

    columns: ClassVar[dict[str, int]] = {"features": 2}
    spec: ClassVar[dict[str, object]] = {}

    def __init__(self, folder: str) -> None:
        note_seat("extract", Path(folder))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), -1)
        return np.stack([flat.mean(axis=1), flat.max(axis=1)], axis=1).astype(np.float32)


def note_seat(stage: str, folder: Path) -> None:
    """Write down where this worker runs; do nothing in the driver, which opens both too."""
    if is_actor_process():
        name = f"{stage}-{ray.get_runtime_context().get_actor_id()}"
        (folder / name).write_text(json.dumps(seat()))


def wait_for_all(folder: Path, patience: float = 80.0) -> None:
    """Wait until all expected workers have a place at the same time."""
    expected = int((folder / EXPECTED).read_text())
    end = time.monotonic() + patience
    while len(list(folder.glob("*-*"))) < expected:
        if time.monotonic() > end:
            raise TimeoutError(f"not all of {expected} workers have a place")
        time.sleep(0.05)


def is_actor_process() -> bool:
    """Return whether this process is a worker."""
    return ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None
