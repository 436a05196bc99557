"""Represent a data set of any format as an ordered list of images and a function to read one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets import decode
from raymetrics.generators.image_datasets.decode import IMAGE_SUFFIXES, BrokenImage
from raymetrics.generators.image_datasets.file_access import DataLocation

LABELS_FILE = "dataset.json"
_MAX_SHOWN = 60  # characters of a file's text, in an error
_IMAGE_ENDINGS = tuple(IMAGE_SUFFIXES)
# Limits of what a damaged file may announce: images with their bytes, and labels with theirs.
MANY_IMAGES, _BYTES_PER_IMAGE = 2**20, 16
_MANY_LABEL_BYTES, _BYTES_PER_LABEL = 2**26, 2**10


@dataclass(frozen=True)
class ImageList:
    """The images of a data set, in the order of their ids.

    kind: the name of the format. files: the files of the set, with their sizes in bytes.
    names: one for each image, unique. labels: for each image the number of its class, the name of
    its class, or None.
    read: returns the image at an index, as an image file's bytes or as pixels uint8 [h, w, 3];
    raises BrokenImage if this image cannot be read, StorageError if the location cannot.
    options: the options of the format that choose the images, the labels or the prompts.
    prompts: for each image the text that it was made from; None if they are not asked for.

    Raises SourceError for a label that is no class.
    """

    kind: str
    location: DataLocation
    files: Mapping[str, int]
    names: Sequence[str]
    labels: Sequence[int | str | None]
    read: Callable[[int], bytes | np.ndarray]
    options: Mapping[str, str] = field(default_factory=dict)
    prompts: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, label in zip(self.names, self.labels, strict=True):
            if isinstance(label, bool) or (isinstance(label, int) and not 0 <= label < 2**63):
                raise SourceError(
                    f"the label of {name!r} in {self.location.uri} is {str(label)[:_MAX_SHOWN]}, "
                    "expected whole numbers from 0 to 2**63 - 1; number the classes from 0 on, or "
                    "leave out all labels"
                )


def is_image(name: str) -> bool:
    """Return whether a name ends like an image file's.

    Files with other endings are not part of a data set; hidden image files are.
    """
    return name.lower().endswith(_IMAGE_ENDINGS)


def labels_by_folder(names: Sequence[str]) -> list[str | None]:
    """Return the first-level folder of each image; None for an image outside of all folders."""
    return [name.split("/")[0] if "/" in name else None for name in names]


def labels_by_file(text: bytes, names: Sequence[str], where: str) -> list[int | None]:
    """Parse the classes of NVIDIA's dataset.json: {"labels": [[path, class], ...]} or null.

    Returns the class of each name; None for each if the file has no classes. Raises SourceError for
    another text, and if one of the images has no class.
    """
    try:
        listed = json.loads(text)["labels"]
        classes = None if listed is None else {name: require_class_number(n) for name, n in listed}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SourceError(
            f"cannot read {where}: {repr(error)[:_MAX_SHOWN]}; expected "
            '{"labels": [["path", 0], ...]} or null'
        ) from None
    if classes is None:
        return [None] * len(names)
    for name in names:
        if name not in classes:
            raise SourceError(f"{where} has no label for {name}; expected one for every image")
    return [classes[name] for name in names]


def require_class_number(label: object) -> int:
    """Return the label; raise ValueError unless it is a whole number (true and 1.5 are not)."""
    if isinstance(label, bool) or not isinstance(label, int):
        raise ValueError(f"the label {str(label)[:_MAX_SHOWN]!r}")
    return label


def require_label_bytes(size: int, names: Sequence[str], where: str) -> None:
    """Raise SourceError if labels of `size` bytes are too large for the labels of these images."""
    limit = _MANY_LABEL_BYTES + _BYTES_PER_LABEL * len(names)
    if size > limit:
        raise SourceError(
            f"{where} takes {size} bytes, at most {limit} are read as the labels of {len(names)} "
            "images; list these images alone"
        )


def require_plausible_count(count: int, size: int, where: str) -> None:
    """Raise SourceError if a file of `size` bytes announces more images than it can hold.

    This check comes before memory is allocated for the names of the images.
    """
    limit = max(MANY_IMAGES, size // _BYTES_PER_IMAGE)
    if count > limit:
        raise SourceError(
            f"{where} announces {count} images in {size} bytes, at most {limit} are read; "
            "is it what it should be?"
        )


def require_encoded_size(size: int) -> None:
    """Raise BrokenImage if an encoded image has more bytes than are read of one."""
    if size > decode.MAX_BYTES:
        raise BrokenImage(f"it takes {size} bytes, at most {decode.MAX_BYTES} are read")
