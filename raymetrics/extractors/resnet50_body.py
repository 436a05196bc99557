"""Build the convolutions of ResNet-50 (He et al. 2016) as torchvision defines them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from raymetrics.devices.fused_convolution import ConvolutionRelu
from raymetrics.extractors.build_networks import (
    build_empty_network,
    fold_batch_norms,
    join_relus,
    replace_layers,
)

FEATURES = 2048  # channels of the last map


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


def build_empty_body() -> nn.Sequential:
    """Build the layers up to the last map, [n, 3, h, w] -> [n, 2048, h / 32, w / 32].

    The weights are unset. The layers have torchvision's names.
    """
    network: Any = build_empty_network(
        "torchvision.models", "torchvision", lambda models: models.resnet50(weights=None)
    )
    del network.fc, network.avgpool
    return nn.Sequential(OrderedDict(network.named_children()))


def fuse(network: nn.Module) -> None:
    """Fold every batch norm into its convolution, and join the ReLUs behind convolutions."""
    from torchvision.models.resnet import Bottleneck

    fold_batch_norms(network)
    join_relus(network)
    replace_layers(network, Bottleneck, _Bottleneck)
