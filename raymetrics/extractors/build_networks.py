"""Build networks that optional libraries define, without drawing random weights first."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from raymetrics.devices.fused_convolution import ConvolutionRelu
from raymetrics.errors import ExtractorError

_TIMM = "1.0.24"  # has all networks; also in pyproject.toml


def build_empty_network(module: str, install: str, make: Callable[[Any], nn.Module]) -> nn.Module:
    """Import a module, and return the network that `make` builds with it, with unset weights.

    Drawing random weights would take longer than reading a file of weights. Raises ExtractorError,
    with the package to install, if the module cannot be imported.
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


def build_empty_timm_network(name: str, **options: Any) -> Any:
    """Return a network of timm with unset weights. options: of timm's `create_model`.

    Raises ExtractorError if timm cannot be imported, or is older than the network.
    """

    def make(timm: Any) -> nn.Module:
        if not timm.is_model(name):
            raise ExtractorError(
                f"timm {timm.__version__} has no network {name}; pip install 'timm>={_TIMM}'"
            )
        network: nn.Module = timm.create_model(name, **options)
        return network

    return build_empty_network("timm", "timm", make)


def fold_batch_norms(network: nn.Module) -> None:
    """Fold every batch norm into the convolution that is registered right before the norm.

    In torchvision's networks this is the convolution whose output the norm takes. The outputs of
    the network change by about 1e-5 at most.
    """
    for module in network.modules():
        children = list(module.named_children())
        for (before, convolution), (name, norm) in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, norm))
                setattr(module, name, nn.Identity())


def join_relus(network: nn.Module) -> None:
    """Join every convolution of a sequence with the ReLU behind it, see `ConvolutionRelu`."""
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        children = [(n, c) for n, c in sequence.named_children() if not isinstance(c, nn.Identity)]
        for (name, convolution), (relu_name, relu) in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(relu, nn.ReLU):
                setattr(sequence, name, ConvolutionRelu(convolution))
                setattr(sequence, relu_name, nn.Identity())


def replace_layers(
    network: nn.Module, kind: type[nn.Module], make: Callable[[Any], nn.Module]
) -> None:
    """Replace every layer of a kind by the one that `make` builds from it."""
    for module in list(network.modules()):
        for name, layer in module.named_children():
            if isinstance(layer, kind):
                setattr(module, name, make(layer))
