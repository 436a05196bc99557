"""Networks that other libraries define: imported when they are asked for, and made quickly."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raymetrics.errors import ExtractorError


def build_empty_network(module: str, install: str, make: Callable[[Any], nn.Module]) -> nn.Module:
    """The network that `make` makes of an imported module, with memory but no values for weights.

    Drawing random ones would take longer than reading a file. ExtractorError says what to install.
    """
    try:
        library = importlib.import_module(module)
    except ImportError as error:
        raise ExtractorError(
            f"this network is defined by {module}, which cannot be imported: {error}; "
            f"pip install {install}"
        ) from None
    with torch.device("meta"):
        network = make(library)
    return network.to_empty(device="cpu")


def fold_batch_norms(network: nn.Module) -> None:
    """Folds every batch norm into the convolution that is registered right before it.

    In torchvision's networks that is the one it follows. The outputs stay, to about 1e-5.
    """
    for module in network.modules():
        children = list(module.named_children())
        for (before, convolution), (name, norm) in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())
