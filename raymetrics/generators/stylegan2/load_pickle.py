"""Load a StyleGAN2 network from a pickle of NVIDIA's programs for PyTorch or TensorFlow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from raymetrics import safe_pickle
from raymetrics.errors import SourceError
from raymetrics.generators.stylegan2 import load_tensorflow
from raymetrics.generators.stylegan2.architecture import (
    NetworkShape,
    Settings,
    infer_shape,
    require_tensors_fit,
)
from raymetrics.generators.stylegan2.layers import ACTIVATIONS
from raymetrics.generators.stylegan2.mapping import Mapping
from raymetrics.generators.stylegan2.synthesis import Synthesis
from raymetrics.printable import escape_unprintable
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_pickle import PickledObject

OTHER_NETWORKS_HINT = (
    "raymetrics has a network of its own for StyleGAN2 alone: for others write a class around "
    "their program and give it as module:Class"
)


class StyleGAN2Network(nn.Module):
    """A StyleGAN2 network: the submodules `mapping` and `synthesis`."""

    def __init__(self, shape: NetworkShape, settings: Settings, filter_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.mapping = Mapping(shape, settings)
        self.synthesis = Synthesis(shape, settings, filter_size)


def load_network(data: bytes, where: str) -> StyleGAN2Network:
    """Load the network in a pickle, with the averaged weights (`G_ema`, `Gs`) if it has them.

    Raises SourceError, with a description of the content, for any other network, and the errors of
    `safe_pickle.read_pickle` for a file that is no pickle.
    """
    content = safe_pickle.read_pickle(data, where)
    with require_undamaged(SourceError, f"{where} is no StyleGAN2", OTHER_NETWORKS_HINT):
        generator = _find_generator(content, where)
        try:
            if generator.class_name == safe_pickle.TENSORFLOW_NETWORK:
                state, settings = load_tensorflow.read_tensorflow_state(generator.state, len(data))
            else:
                state, settings = _read_pytorch_state(generator, where)
                require_tensors_fit(sum(tensor.numel() for tensor in state.values()), len(data))
            return _build_network(state, settings)
        except KeyError as error:
            raise SourceError(
                f"{where} lacks {error} of StyleGAN2; {OTHER_NETWORKS_HINT}"
            ) from None


def _find_generator(content: Any, where: str) -> PickledObject:
    """Return the generator in NVIDIA's dictionaries or in TensorFlow's (G, D, Gs).

    Raises SourceError for other content.
    """
    generator = content
    if isinstance(content, dict):
        candidates = map(content.get, ("G_ema", "G", "ema"))
        generator = next((value for value in candidates if isinstance(value, PickledObject)), None)
    elif isinstance(content, tuple) and len(content) == 3:
        generator = content[2]
    if not isinstance(generator, PickledObject):
        names = (
            f"the entries {safe_pickle.describe_keys(content)}" if isinstance(content, dict) else ""
        )
        raise SourceError(
            f"{where} holds {names or type(content).__name__}, expected G_ema, or TensorFlow's "
            f"(G, D, Gs); {OTHER_NETWORKS_HINT}"
        )
    return generator


def _read_pytorch_state(generator: PickledObject, where: str) -> tuple[dict[str, Tensor], Settings]:
    """Read tensors and settings of a `Generator` from stylegan2-ada-pytorch or stylegan3.

    Raises SourceError for networks of other classes and for a StyleGAN3.
    """
    state = safe_pickle.module_tensors(generator)
    if generator.class_name != "Generator":
        name = escape_unprintable(generator.class_name, 100)
        raise SourceError(f"{where} holds the network {name}; {OTHER_NETWORKS_HINT}")
    if any(name.startswith("synthesis.input.") for name in state):
        raise SourceError(f"{where} holds a StyleGAN3; {OTHER_NETWORKS_HINT}")
    dense = _submodule(generator, "mapping", "fc0").state
    convolution = _submodule(generator, "synthesis", "b4", "conv1").state
    settings = Settings(
        mapping_rate=float(dense["bias_gain"]),
        mapping_activation=dense["activation"],
        activation=convolution["activation"],
        clamp=convolution["conv_clamp"],
    )
    return state, settings


def _submodule(module: PickledObject, *path: str) -> PickledObject:
    """Return the submodule at a path inside of a module; raise KeyError if it is missing."""
    for name in path:
        module = module.state["_modules"][name]
    return module


def _build_network(state: dict[str, Tensor], settings: Settings) -> StyleGAN2Network:
    """Build the network with these tensors.

    Raises RuntimeError if the tensors are not exactly those of the network, ValueError for unknown
    activations and for different filters.
    """
    for activation in (settings.activation, settings.mapping_activation):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation}, expected {', '.join(ACTIVATIONS)}")
    filters = {name: state.pop(name) for name in list(state) if name.endswith("resample_filter")}
    state["synthesis.fir"] = fir = filters["synthesis.b4.resample_filter"]
    if any(not layer_filter.equal(fir) for layer_filter in filters.values()):
        raise ValueError("its layers have different filters")
    shape = infer_shape(state)
    with torch.device("meta"):  # allocates no memory until the tensors are known to fit
        sizes = {name: tensor.to("meta") for name, tensor in state.items()}
        StyleGAN2Network(shape, settings, len(fir)).load_state_dict(sizes, assign=True)
    network = StyleGAN2Network(shape, settings, len(fir))
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    for layer in network.synthesis.convolutions():
        layer.compute_energy()
    return network
