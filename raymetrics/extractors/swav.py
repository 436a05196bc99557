"""Extract features with SwAV's ResNet-50 (Caron et al. 2020), trained on ImageNet without classes.

Morozov et al. (2021) propose this network for Fréchet distances. Features are the spatial mean of
the last map.
"""

from __future__ import annotations

from torch import Tensor, nn

from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.extractors.resnet50_body import FEATURES, build_empty_body, fuse
from raymetrics.weights.known_files import SWAV
from raymetrics.weights.state_dict import StateDict

_HEAD_PREFIXES = ("projection_head.", "prototypes.", "fc.")  # layers that only the training uses


class SwavResnet50(nn.Module):
    """SwAV's ResNet-50: images float32 [n, 3, h, w] -> features [n, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = build_empty_body()

    def activations(self, images: Tensor) -> Tensor:
        """Compute the map [n, 2048, h / 32, w / 32] whose spatial mean is `features`."""
        x: Tensor = self.body(images)
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute the features from the map."""
        return {"features": activations.float().mean(dim=(2, 3))}


def _rename_state(state: StateDict) -> StateDict:
    """Rename tensors saved from DistributedDataParallel to this network's names, without heads."""
    unprefixed = {name.removeprefix("module."): value for name, value in state.items()}
    return {
        f"body.{name}": unprefixed[name]
        for name in unprefixed
        if not name.startswith(_HEAD_PREFIXES)
    }


ARCHITECTURE = PublishedNetwork(
    name="swav-resnet50",
    build=SwavResnet50,
    size=224,
    resize="shorter-side",
    scale=standardize_imagenet,
    outputs={"features": FEATURES},
    columns=("features",),
    weights=SWAV,
    rename_state=_rename_state,
    finish=fuse,
    any_shape=True,
)
