"""Extract features with SwAV's ResNet-50 (Caron et al. 2020), trained on ImageNet without classes.

Morozov et al. (2021) propose this network for Fréchet distances. Features are the spatial mean of
the last map.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from raymetrics.devices.fused_convolution import ConvolutionRelu
from raymetrics.extractors.base import PublishedNetwork
from raymetrics.extractors.build_networks import (
    build_empty_network,
    fold_batch_norms,
    join_relus,
    replace_layers,
)
from raymetrics.extractors.pixel_scaling import standardize_imagenet
from raymetrics.weights.known_files import SWAV
from raymetrics.weights.state_dict import StateDict

_FEATURES = 2048
_HEAD_PREFIXES = ("projection_head.", "prototypes.", "fc.")  # layers that only the training uses


class _Bottleneck(nn.Module):
    """torchvision's bottleneck without norms: three convolutions, a shortcut, and ReLUs."""

    def __init__(self, bottleneck: Any) -> None:
        super().__init__()
        self.reduce = ConvolutionRelu(bottleneck.conv1)
        self.convolve = ConvolutionRelu(bottleneck.conv2)
        self.expand = bottleneck.conv3
        self.shortcut = bottleneck.downsample or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.expand(self.convolve(self.reduce(x)))
        y += self.shortcut(x)
        return y.relu_()


class SwavResnet50(nn.Module):
    """SwAV's ResNet-50: images float32 [n, 3, h, w] -> features [n, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        body: Any = build_empty_network(
            "torchvision.models", "torchvision", lambda models: models.resnet50(weights=None)
        )
        del body.fc, body.avgpool
        self.body = nn.Sequential(OrderedDict(body.named_children()))

    def activations(self, images: Tensor) -> Tensor:
        """Compute the map [n, 2048, h / 32, w / 32] whose spatial mean is `features`."""
        x: Tensor = self.body(images)
        return x

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.outputs(self.activations(images))

    def outputs(self, activations: Tensor) -> dict[str, Tensor]:
        """Compute the features from the map."""
        return {"features": activations.float().mean(dim=(2, 3))}


def _fuse(network: SwavResnet50) -> None:
    """Fold every batch norm into its convolution, and join the ReLUs behind convolutions."""
    from torchvision.models.resnet import Bottleneck

    fold_batch_norms(network)
    join_relus(network)
    replace_layers(network, Bottleneck, _Bottleneck)


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
    outputs={"features": _FEATURES},
    columns=("features",),
    weights=SWAV,
    rename_state=_rename_state,
    finish=_fuse,
    any_shape=True,
)
