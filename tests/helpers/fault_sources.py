"""Networks with faults that a folder orders, so that their specification tells nothing of them."""

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
    """From now on the fault `kind` at sample `at`, so many times."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STRIKES_FILE).unlink(missing_ok=True)
    (folder / ORDER_FILE).write_text(json.dumps({"kind": kind, "at": sample_id, "times": times}))


def count_strikes(folder: Path) -> int:
    """How often the fault has struck."""
    marks = folder / STRIKES_FILE
    return marks.stat().st_size if marks.exists() else 0


class FaultySource:
    """Noise, as `sources.noise`; a worker that is asked for it suffers what is ordered."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.spec: dict[str, object] = {}

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        suffer(self.folder, ("exit", "hold", "fail", "devour"), sample_ids)
        return noise(sample_ids)


class FragileExtractor:
    """An extractor that gives means of colours, if its worker survives its making."""

    columns: ClassVar[dict[str, int]] = {"features": 3}
    spec: ClassVar[dict[str, object]] = {}

    def __init__(self, folder: str) -> None:
        suffer(Path(folder), ("start",), np.array([ALWAYS]))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images.mean(axis=(2, 3), dtype=np.float32)


def suffer(folder: Path, kinds: tuple[str, ...], sample_ids: np.ndarray) -> None:
    """What is ordered, if it is of these kinds and about these samples. Only in an actor: the
    driver opens networks as well."""
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
    """No fault from now on, and nobody is held."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RELEASED_FILE).touch()
    (folder / ORDER_FILE).unlink(missing_ok=True)


def is_actor_process() -> bool:
    """Whether this process is a worker."""
    return ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None


def exit_process(folder: Path) -> None:
    """The process is gone, as after a crash in native code."""
    os._exit(1)


def hold(folder: Path) -> None:
    """Says which process and node it is on, and waits: for the test, which kills one of them."""
    whereabouts = {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id()}
    temporary = folder / f"{HELD_FILE}.aside"
    temporary.write_text(json.dumps(whereabouts))
    temporary.rename(folder / HELD_FILE)
    while not (folder / RELEASED_FILE).exists():
        time.sleep(0.05)


def fail(folder: Path) -> None:
    """Raises."""
    raise RuntimeError("no such latent")


def devour(folder: Path) -> None:
    """Takes 3 GB and waits to be killed for it."""
    arrays = [np.ones(125_000_000) for _ in range(3)]
    time.sleep(60)
    raise RuntimeError(f"nobody minded {len(arrays)} GB")


FAULTS = {"start": exit_process, "exit": exit_process, "hold": hold, "fail": fail, "devour": devour}
