"""Images to heatmaps: one forward pass, and a product of matrices behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from raymetrics.extractors.base import NetworkExtractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.metrics.frechet_sensitivity import (
    Sensitivity,
    channel_weights,
    gradient,
    importance,
)
from raymetrics.output_names import LOGITS

TOP_CLASSES = 3  # classes that are told of an image


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """What a distance sees in images, and what the network takes them for."""

    sample_ids: np.ndarray  # int64 [n]
    maps: np.ndarray  # float32 [n, h, w], of the network's last map; not scaled
    norms: np.ndarray  # float64 [n]: |dF/df|
    classes: np.ndarray  # int64 [n, 3], the most probable first; [n, 0] without logits
    probabilities: np.ndarray  # float32, of these classes

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """One behind another."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


class HeatmapExtractor:
    """An extractor that sees where images matter for the distance of two sets."""

    def __init__(self, extractor: NetworkExtractor, sensitivity: Sensitivity) -> None:
        """ExtractorError comes with the first image if the network has no map."""
        self.extractor = extractor
        self.constants = [
            torch.tensor(constant, device=extractor.device)
            for constant in (sensitivity.mean, sensitivity.shift, sensitivity.matrix)
        ]

    def __call__(self, sample_ids: np.ndarray, images: np.ndarray) -> Heatmaps:
        """sample_ids int64 [n], images uint8 [n, 3, h, w]."""
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
        gradients = gradient(features, *self.constants)
        weights = channel_weights(gradients, activations.shape[2:].numel())
        results = {
            "maps": importance(weights.float(), activations.float()),
            "norms": gradients.norm(dim=1),
        }
        return results | self._top_classes(outputs, len(features))

    def _top_classes(self, outputs: dict[str, Tensor], count: int) -> dict[str, Tensor]:
        """The most probable classes, if the extractor has any."""
        if LOGITS not in outputs or LOGITS not in self.extractor.columns:
            empty = torch.zeros(count, 0)
            return {"classes": empty.long(), "probabilities": empty}
        probabilities = outputs[LOGITS].float().softmax(dim=1)
        top = probabilities.topk(min(TOP_CLASSES, probabilities.shape[1]), dim=1)
        return {"classes": top.indices, "probabilities": top.values}


def compact_ids(sample_ids: np.ndarray, size: int) -> np.ndarray:
    """Other ids, with the same place modulo size, of as few blocks as there can be; int64 [n].

    A sample's bits depend on its place in a block, and not on its neighbours there (see
    `raymetrics.fixed_batches`), so that a few scattered samples need not have a block each.
    """
    places = sample_ids % size
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    block_numbers = np.empty_like(places)
    block_numbers[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    return block_numbers * size + places
