"""What every kind of data set gives: an ordered list of images, and a way to read one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.datasets.files import Place
from raymetrics.generators.datasets.images import SUFFIXES, BrokenImage

LABELS_FILE = "dataset.json"
ENDINGS = tuple(SUFFIXES)


@dataclass(frozen=True)
class Entries:
    """The images of a data set in the order of their ids.

    files: those that the set is made of, with their bytes. names: one for each image, unique.
    labels: for each image a number, the name of its class, or None.
    read: the image at an index, as an image file's bytes or as pixels uint8 [h, w, 3];
    BrokenImage if that one is not to be had, StorageError if the place is not.
    options: what was asked for that changes which images or labels these are.
    """

    kind: str
    place: Place
    files: Mapping[str, int]
    names: Sequence[str]
    labels: Sequence[int | str | None]
    read: Callable[[int], bytes | np.ndarray]
    options: Mapping[str, str] = field(default_factory=dict)


def is_image(name: str) -> bool:
    """Whether a name ends as image files do. What does not is no part of a data set; what does
    is one, hidden or not."""
    return name.lower().endswith(ENDINGS)


def labels_by_folder(names: Sequence[str]) -> list[str | None]:
    """The first-level folder that each image lies in; None for one that lies in none."""
    return [name.split("/")[0] if "/" in name else None for name in names]


def labels_by_file(text: bytes, names: Sequence[str], where: str) -> list[int | None]:
    """NVIDIA's dataset.json: {"labels": [[path, class], ...]}, or null for no classes.

    SourceError if it is none, or has no class for one of the images.
    """
    try:
        listed = json.loads(text)["labels"]
        classes = None if listed is None else {name: int(label) for name, label in listed}
    except (ValueError, TypeError, KeyError) as error:
        raise SourceError(
            f'cannot read {where}: {error!r}; expected {{"labels": [["path", 0], ...]}} or null'
        ) from None
    if classes is None:
        return [None] * len(names)
    for name in names:
        if name not in classes:
            raise SourceError(f"{where} has no label for {name}; expected one for every image")
    return [classes[name] for name in names]


def checked_size(size: int, limit: int) -> None:
    """BrokenImage if an encoded image is larger than any that would be decoded."""
    if size > limit:
        raise BrokenImage(f"it takes {size} bytes, at most {limit} are read")
