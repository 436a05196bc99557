"""ResNet-50 trained by SwAV (Caron et al. 2020): ImageNet's images without their classes.

Morozov et al. (2021) propose it for Fréchet distances; features are the mean of the last map.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from raymetrics.extractors.base import Architecture
from raymetrics.extractors.build_networks import fold_batch_norms, network_of
from raymetrics.extractors.pixel_scaling import imagenet
from raymetrics.weights.known_files import SWAV
from raymetrics.weights.state_dict import State

FEATURES = 2048
HEADS = ("projection_head.", "prototypes.", "fc.")  # what training put behind the features


class SwavResnet50(nn.Module):
    """Images float32 [n, 3, h, w] -> features [n, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        body: Any = network_of(
            "torchvision.models", "torchvision", lambda models: models.resnet50(weights=None)
        )
        del body.fc, body.avgpool
        self.body = nn.Sequential(OrderedDict(body.named_children()))

    def activations(self, images: Tensor) -> Tensor:
        """The map [n, 2048, h / 32, w / 32] whose spatial mean is features."""
        x: Tensor = self.body(images)
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """All that is made of the map."""
        return {"features": activations.mean(dim=(2, 3))}


def translated(state: State) -> State:
    """The names of a network in DistributedDataParallel -> ours, without its heads."""
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    return {f"body.{name}": plain[name] for name in plain if not name.startswith(HEADS)}


ARCHITECTURE = Architecture(
    name="swav-resnet50",
    build=SwavResnet50,
    size=224,
    resize="shorter-side",
    scale=imagenet,
    outputs={"features": FEATURES},
    columns=("features",),
    weights=SWAV,
    translate=translated,
    finish=fold_batch_norms,
    any_shape=True,
)
