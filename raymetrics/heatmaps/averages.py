"""Mean images and mean heatmaps: of all samples, and of those of some Top-1 classes (Fig. 4b)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.heatmaps.heatmaps import Heatmaps


@dataclass(frozen=True, eq=False)
class Averages:
    """Sums over groups of samples: all of them first, then a group for each class.

    A sample may be in no group but the first. Sums of images are whole numbers, and so exact;
    those of maps are merged in the order of sample ids.
    """

    counts: np.ndarray  # int64 [groups]
    images: np.ndarray  # int64 [groups, 3, height, width]
    maps: np.ndarray  # float64 [groups, h, w]

    @classmethod
    def from_images(cls, images: np.ndarray, heatmaps: Heatmaps, classes: Sequence[int]) -> Self:
        """images: uint8 [n, 3, height, width] of the samples that were seen."""
        top = heatmaps.classes[:, :1].ravel() if len(classes) else np.empty(0)
        groups = [np.ones(len(images), bool), *(top == number for number in classes)]
        return cls(
            np.array([group.sum() for group in groups]),
            np.stack([images[group].sum(axis=0, dtype=np.int64) for group in groups]),
            np.stack([heatmaps.maps[group].sum(axis=0, dtype=np.float64) for group in groups]),
        )

    def merge(self, added: Self) -> Self:
        """Of both. SourceError for images of another size, of which there is no mean."""
        if self.images.shape != added.images.shape:
            sizes = [" x ".join(map(str, a.images.shape[2:])) for a in (self, added)]
            raise SourceError(
                f"some images are {sizes[0]}, others {sizes[1]}; means take images of one size: "
                "extract them with '?size=N'"
            )
        return type(self)(
            self.counts + added.counts, self.images + added.images, self.maps + added.maps
        )

    def mean_image(self, group: int) -> np.ndarray:
        """uint8 [3, height, width]; black if the group is empty."""
        mean = self.images[group] / max(1, self.counts[group])
        return np.rint(mean).astype(np.uint8)

    def mean_map(self, group: int) -> np.ndarray:
        """float32 [h, w]; zeros if the group is empty."""
        return (self.maps[group] / max(1, self.counts[group])).astype(np.float32)
