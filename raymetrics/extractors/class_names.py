"""List the names of the classes that networks were trained on, in each network's order."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def imagenet_classes() -> tuple[str, ...]:
    """Return the 1,000 classes of ImageNet, in the common order.

    TensorFlow's Inception has another order, see `inception_classes`.
    """
    return tuple((FOLDER / "imagenet_classes.txt").read_text().splitlines())


def inception_classes() -> tuple[str, ...]:
    """Return the 1,008 classes of TensorFlow's Inception-V3 of 2015-12-05, in its graph's order.

    A line of the file holds the WordNet id and the name of a class. The first class stands for
    "no class"; the last seven were never trained.
    """
    lines = (FOLDER / "inception_classes.txt").read_text().splitlines()
    return tuple(line.partition(" ")[2] for line in lines)
