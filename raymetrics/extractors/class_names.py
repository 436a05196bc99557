"""The names of the classes that networks were trained on, in each network's own order."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet in everyone's order but that of TensorFlow's Inception."""
    return tuple((FOLDER / "imagenet_classes.txt").read_text().splitlines())


def inception_classes() -> tuple[str, ...]:
    """The 1,008 classes of TensorFlow's Inception-V3 of 2015-12-05, in its graph's own order.

    A line of the file is a class's WordNet id and name. The first stands for what is no class,
    the last seven were never trained.
    """
    lines = (FOLDER / "inception_classes.txt").read_text().splitlines()
    return tuple(line.partition(" ")[2] for line in lines)
