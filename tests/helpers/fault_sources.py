"""Define networks with faults that a file in a folder orders; the spec does not show the faults."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import ray
from sources import noise

ALWAYS = -1  # times; and the sample of what is not about samples
ORDER_FILE, STRIKES_FILE, HELD_FILE, RELEASED_FILE = "order.json", "happened", "held", "released"


def order_fault(folder: Path, kind: str, sample_id: int = ALWAYS, times: int = 1) -> None:
    """Order the fault `kind` at a sample, for so many times from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STRIKES_FILE).unlink(missing_ok=True)
    (folder / ORDER_FILE).write_text(json.dumps({"kind": kind, "at": sample_id, "times": times}))


def count_strikes(folder: Path) -> int:
    """Count how often the fault has struck."""
    marks = folder / STRIKES_FILE
    return marks.stat().st_size if marks.exists() else 0


class FaultySource:
    """The noise of `sources.noise`; a worker that generates it suffers the ordered fault."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.spec: dict[str, object] = {}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        suffer(self.folder, ("exit", "hold", "fail", "devour"), sample_ids)
        return noise(sample_ids)


class FragileExtractor:
    """An extractor of mean colors, whose construction may end the worker."""

    columns: ClassVar[dict[str, int]] = {"features": 3}
    spec: ClassVar[dict[str, object]] = {}

    def __init__(self, folder: str) -> None:
        suffer(Path(folder), ("start",), np.array([ALWAYS]))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(2, 3), dtype=np.float32)


def suffer(folder: Path, kinds: tuple[str, ...], sample_ids: np.ndarray) -> None:
    """Suffer the ordered fault, if it is of these kinds and about these samples.

    Only in an actor, as the driver opens networks too.
    """
    file = folder / ORDER_FILE
    if not (file.exists() and is_actor_process()):
        return
    ordered = json.loads(file.read_text())
    if ordered["kind"] not in kinds or ordered["at"] not in sample_ids:
        return
    if count_strikes(folder) == ordered["times"]:
        return
    with (folder / STRIKES_FILE).open("ab", buffering=0) as marks:
        marks.write(b"x")
    FAULTS[ordered["kind"]](folder)


def recover(folder: Path) -> None:
    """Order no fault from now on, and release the workers that wait."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RELEASED_FILE).touch()
    (folder / ORDER_FILE).unlink(missing_ok=True)


def is_actor_process() -> bool:
    """Return whether this process is a worker."""
    return ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None


def exit_process(folder: Path) -> None:
    """End the process, as a crash in native code does."""
    os._exit(1)


def hold(folder: Path) -> None:
    """Write down the process and the node, and wait until the test kills one of them."""
    whereabouts = {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id()}
    temporary = folder / f"{HELD_FILE}.aside"
    temporary.write_text(json.dumps(whereabouts))
    temporary.rename(folder / HELD_FILE)
    while not (folder / RELEASED_FILE).exists():
        time.sleep(0.05)


def fail(folder: Path) -> None:
    """Raise an error."""
    raise RuntimeError("no such latent")


def devour(folder: Path) -> None:
    """Take 3 GB and wait to be killed for it."""
    arrays = [np.ones(125_000_000) for _ in range(3)]
    time.sleep(60)
    raise RuntimeError(f"nobody minded {len(arrays)} GB")


FAULTS = {"start": exit_process, "exit": exit_process, "hold": hold, "fail": fail, "devour": devour}
