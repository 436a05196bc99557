"""Compute heatmaps of images: one forward pass, and a product of matrices behind it.

`Averages` are mean images and mean heatmaps, of all samples and of some Top-1 classes (Fig. 4b of
Kynkäänniemi et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from raymetrics.errors import SourceError
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.metrics.frechet_sensitivity import Derivative, channel_weights, importance
from raymetrics.output_names import LOGITS

TOP_CLASSES = 3  # of an image, in files of heatmaps
_UINT16_IMAGES = 256  # whose sums uint16 holds, in which numpy adds three times as fast as in int64


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """Where a distance looks in images, and the classes that the network sees."""

    sample_ids: np.ndarray  # int64 [n]
    maps: np.ndarray  # float32 [n, h, w], as large as the network's last map; not scaled
    norms: np.ndarray  # float64 [n]: |dF/df|
    classes: np.ndarray  # int64 [n, top], the most probable first; [n, 0] without logits
    probabilities: np.ndarray  # float32, of these classes

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the heatmaps of all parts, in their order."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def with_top_classes(self, count: int) -> Self:
        """Return the heatmaps with fewer of the most probable classes."""
        return replace(
            self, classes=self.classes[:, :count], probabilities=self.probabilities[:, :count]
        )


class HeatmapExtractor:
    """Computes where images matter for the distance of two sets."""

    def __init__(
        self, extractor: NetworkExtractor, derivative: Derivative, top_classes: int = TOP_CLASSES
    ) -> None:
        """Copy the derivative to the device of the extractor.

        top_classes: how many of the most probable classes are returned. The first call raises
        ExtractorError if the network has no map.
        """
        self.extractor, self.top_classes = extractor, top_classes
        like = torch.empty(0, dtype=torch.float64, device=extractor.device)
        self.derivative = derivative.cast_like(like)

    def __call__(self, sample_ids: np.ndarray, images: Any) -> Heatmaps:
        """Return the heatmaps of images.

        sample_ids: int64 [n]; images: uint8 [n, 3, h, w], an array of numpy or a tensor on the
        device of the extractor.
        """
        size = self.extractor.block
        places = compact_ids(sample_ids, size)
        outputs = run_in_fixed_batches(
            lambda block: self.extractor.apply_to_map(block, self._heatmap_outputs),
            places,
            images,
            size,
        )
        return Heatmaps(sample_ids, **outputs)

    def _heatmap_outputs(
        self, activations: Tensor, outputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        features = next(iter(outputs.values())).double()
        gradients = self.derivative.gradient(features)
        weights = channel_weights(gradients, activations.shape[2:].numel())
        results = {
            "maps": importance(weights.float(), activations.float()),
            "norms": gradients.norm(dim=1),
        }
        return results | self._top_classes(outputs, len(features))

    def _top_classes(self, outputs: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """Return the most probable classes; none if the extractor has no logits."""
        if LOGITS not in outputs or LOGITS not in self.extractor.columns:
            empty = torch.zeros(count, 0)
            return {"classes": empty.long(), "probabilities": empty}
        probabilities = outputs[LOGITS].float().softmax(dim=1)
        top = probabilities.topk(min(self.top_classes, probabilities.shape[1]), dim=1)
        return {"classes": top.indices, "probabilities": top.values}


def compact_ids(sample_ids: np.ndarray, size: int) -> np.ndarray:
    """Return other ids, int64 [n], in as few blocks as possible; remainders modulo size stay.

    A sample's bits depend on its place in a block, and not on its neighbours there (see
    `raymetrics.fixed_batches`), so that a few scattered samples need not have a block each.
    """
    places = sample_ids % size
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    block_numbers = np.empty_like(places)
    block_numbers[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    return block_numbers * size + places


@dataclass(frozen=True, eq=False)
class Averages:
    """Sums over groups of samples: all of them first, then a group for each class.

    A sample may be in no group but the first. Sums of images are whole numbers, and so exact;
    those of maps are merged in the order of sample ids.
    """

    counts: np.ndarray  # int64 [groups]
    # [groups, 3, height, width] of numpy or torch: int32, which holds 8 million images, or int64
    images: Any
    maps: np.ndarray  # float64 [groups, h, w]

    @classmethod
    def from_images(cls, images: Any, heatmaps: Heatmaps, classes: Sequence[int]) -> Self:
        """Return the sums over all images and over each class; images in int32, on their device.

        images: uint8 [n, 3, height, width], of numpy or torch; heatmaps: of these images; classes:
        one group for each.
        """
        if isinstance(images, Tensor) and images.device.type == "cpu":
            images = images.numpy()
        top = heatmaps.classes[:, :1].ravel() if len(classes) else np.empty(0)
        groups = [np.ones(len(images), bool), *(top == number for number in classes)]
        sums = [_sum_images(images if group.all() else images[group]) for group in groups]
        return cls(
            np.array([group.sum() for group in groups]),
            np.stack(sums) if isinstance(images, np.ndarray) else torch.stack(sums),
            np.stack([heatmaps.maps[group].sum(axis=0, dtype=np.float64) for group in groups]),
        )

    def to_numpy(self) -> Self:
        """Return the sums as arrays of numpy."""
        return replace(self, images=torch.as_tensor(self.images).cpu().numpy())

    def merge(self, added: Self) -> Self:
        """Return the sums over both. Raise SourceError if the images differ in size."""
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
        """Return the mean image, uint8 [3, height, width]; black if the group is empty."""
        mean = self.images[group] / max(1, self.counts[group])
        return np.rint(mean).astype(np.uint8)

    def mean_map(self, group: int) -> np.ndarray:
        """Return the mean heatmap of a group, float32 [h, w]; zeros if the group is empty."""
        return (self.maps[group] / max(1, self.counts[group])).astype(np.float32)


def _sum_images(images: Any) -> Any:
    """Sum images uint8 [n, 3, height, width], of numpy or torch, to int32 [3, height, width]."""
    if isinstance(images, Tensor):
        return images.sum(0, dtype=torch.int32)
    total = np.zeros(images.shape[1:], np.int32)
    for start in range(0, len(images), _UINT16_IMAGES):
        total += images[start : start + _UINT16_IMAGES].sum(axis=0, dtype=np.uint16)
    return total
