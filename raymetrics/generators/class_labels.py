"""Give the samples of a conditional network their classes, by the option `label`."""

from __future__ import annotations

import numpy as np

ALL_CLASSES = "all"


def parse_classes(label: str | int | None, count: int) -> tuple[int, ...] | None:
    """Return the classes that an option `label` names: "207", "207,281", or "all" of `count`.

    Returns None without the option. Raises ValueError for anything but classes of the network.
    """
    if label is None:
        return None
    texts = range(count) if label == ALL_CLASSES else str(label).split(",")
    classes = tuple(int(text) for text in texts)
    if not classes or not all(0 <= number < count for number in classes):
        raise ValueError(f"label is {label}, the network has {count} classes, counted from 0")
    return classes


def take_turns(sample_ids: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """Return the classes of samples, int64 [n]: sample k has that of place k mod the number.

    sample_ids: int64 [n].
    """
    return np.array(classes, np.int64)[sample_ids % len(classes)]


def draw_class(seed: int, z_dim: int, count: int) -> int:
    """Draw the class of a seed, as NVIDIA's programs do: after z, from the same RandomState."""
    rng = np.random.RandomState(seed)
    rng.randn(z_dim)
    return int(rng.randint(count))
