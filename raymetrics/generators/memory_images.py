"""Serve images that a Python program holds in memory as a source, for the time of the program.

An array, a tensor or a Dataset gets the name "in-memory:..." under which this process opens it. Its
features are extracted in this process, as workers could not find the name.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from raymetrics.errors import SourceError

PREFIX = "in-memory:"
_sources: WeakValueDictionary[str, MemoryImages] = WeakValueDictionary()


class MemoryImages:
    """Images in memory as samples.

    images: an array or a tensor, uint8 [n, 3, h, w] or [n, h, w, 3]; or a Dataset whose items are
    such images, pictures of PIL, or tuples that begin with one. An array is known by its contents,
    so that its features are found again; a Dataset is not, and its features are made anew.
    """

    in_this_process = True

    def __init__(self, images: Any) -> None:
        self.images = images
        if hasattr(images, "shape"):
            array = _as_array(images)
            self.images = _channels_first(array, "the array")
            key = hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()
            self.thread_safe = True
        elif hasattr(images, "__getitem__") and hasattr(images, "__len__"):
            key = uuid.uuid4().hex
            self.thread_safe = False
        else:
            raise SourceError(
                f"{type(images).__name__} is no source of images; expected an array, a tensor, a "
                "Dataset with a length, or a source as text"
            )
        self.name = f"{PREFIX}{key[:24]}"
        self.spec = {"name": "images in memory", "key": key}

    @property
    def length(self) -> int:
        return len(self.images)

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Return images uint8 [n, 3, h, w] of sample ids int64 [n]."""
        if isinstance(self.images, np.ndarray):
            return np.ascontiguousarray(self.images[sample_ids])
        pictures = [_one_image(self.images[int(k)]) for k in sample_ids]
        if len({picture.shape for picture in pictures}) > 1:
            raise SourceError(f"{self.name} holds images of several sizes; give them one size")
        return _channels_first(np.stack(pictures), self.name)

    def labels(self, sample_ids: np.ndarray) -> None:
        """Return None: the classes are not known."""


def register_images(images: Any) -> MemoryImages:
    """Return images in memory as a source, which `open_images` finds while the caller holds it.

    SourceError for what holds no images.
    """
    source = MemoryImages(images)
    return _sources.setdefault(source.name, source)


def open_images(name: str) -> MemoryImages:
    """Return the images of this name. SourceError if this process does not hold them."""
    source = _sources.get(name)
    if source is None:
        raise SourceError(f"{name} was in the memory of a program, and is not there any more")
    return source


def _as_array(images: Any) -> np.ndarray:
    tensor = images.detach().cpu() if hasattr(images, "detach") else images
    return np.asarray(tensor)


def _one_image(item: Any) -> np.ndarray:
    """Return one item of a Dataset as uint8 [3, h, w] or [h, w, 3]."""
    image = item[0] if isinstance(item, tuple | list) else item
    if hasattr(image, "convert"):  # a picture of PIL
        return np.asarray(image.convert("RGB"))
    return _as_array(image)


def _channels_first(images: np.ndarray, name: str) -> np.ndarray:
    """Return images as uint8 [n, 3, h, w]. SourceError for other arrays."""
    if images.dtype == np.uint8 and images.ndim == 4:
        if images.shape[1] == 3:
            return images
        if images.shape[3] == 3:
            return images.transpose(0, 3, 1, 2)
    raise SourceError(
        f"{name} is {images.dtype} {list(images.shape)}, expected images uint8 [n, 3, height, "
        "width]; make bytes of floats by the rule that you report, as (x * 255).round()"
    )
