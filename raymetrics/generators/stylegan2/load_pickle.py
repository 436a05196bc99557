"""A StyleGAN2 network out of a pickle: NVIDIA's for PyTorch, or the older ones for TensorFlow."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from raymetrics import safe_pickle
from raymetrics.errors import SourceError
from raymetrics.generators.stylegan2 import load_tensorflow
from raymetrics.generators.stylegan2.architecture import Settings, Shape, require_room, shape_of
from raymetrics.generators.stylegan2.layers import ACTIVATIONS
from raymetrics.generators.stylegan2.mapping import Mapping
from raymetrics.generators.stylegan2.synthesis import Synthesis
from raymetrics.printable import printable
from raymetrics.safe_archives.damage import refuse_damage
from raymetrics.safe_pickle import Persistent

INSTEAD = (
    "raymetrics has a network of its own for StyleGAN2 alone: for others write a class around "
    "their program and give it as module:Class"
)


class Network(nn.Module):
    """`mapping` and `synthesis`."""

    def __init__(self, shape: Shape, settings: Settings, filter_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.mapping = Mapping(shape, settings)
        self.synthesis = Synthesis(shape, settings, filter_size)


def network_of(data: bytes, where: str) -> Network:
    """The network that a pickle holds, with the averaged weights (`G_ema`, `Gs`) where it has them.

    SourceError, with what was found, for any other network; of `pickles.read` for no pickle.
    """
    content = safe_pickle.read(data, where)
    with refuse_damage(SourceError, f"{where} is no StyleGAN2", INSTEAD):
        found = generator_in(content, where)
        try:
            if found.class_name == safe_pickle.NETWORK:
                state, settings = load_tensorflow.state_and_settings(found.state, len(data))
            else:
                state, settings = state_and_settings(found, where)
                require_room(sum(tensor.numel() for tensor in state.values()), len(data))
            return build(state, settings)
        except KeyError as error:
            raise SourceError(f"{where} lacks {error} of StyleGAN2; {INSTEAD}") from None


def generator_in(content: Any, where: str) -> Persistent:
    """The generator among what was pickled: NVIDIA's dictionaries, TensorFlow's (G, D, Gs)."""
    found = content
    if isinstance(content, dict):
        held = map(content.get, ("G_ema", "G", "ema"))
        found = next((value for value in held if isinstance(value, Persistent)), None)
    elif isinstance(content, tuple) and len(content) == 3:
        found = content[2]
    if not isinstance(found, Persistent):
        names = f"the entries {safe_pickle.names(content)}" if isinstance(content, dict) else ""
        raise SourceError(
            f"{where} holds {names or type(content).__name__}, expected G_ema, or TensorFlow's "
            f"(G, D, Gs); {INSTEAD}"
        )
    return found


def state_and_settings(found: Persistent, where: str) -> tuple[dict[str, Tensor], Settings]:
    """Of a `Generator` for PyTorch, from stylegan2-ada-pytorch or stylegan3."""
    state = safe_pickle.tensors(found)
    if found.class_name != "Generator":
        name = printable(found.class_name, 100)
        raise SourceError(f"{where} holds the network {name}; {INSTEAD}")
    if any(name.startswith("synthesis.input.") for name in state):
        raise SourceError(f"{where} holds a StyleGAN3; {INSTEAD}")
    dense = inner(found, "mapping", "fc0").state
    convolution = inner(found, "synthesis", "b4", "conv1").state
    settings = Settings(
        mapping_rate=float(dense["bias_gain"]),
        mapping_activation=dense["activation"],
        activation=convolution["activation"],
        clamp=convolution["conv_clamp"],
    )
    return state, settings


def inner(module: Persistent, *path: str) -> Persistent:
    """A module inside of a module; KeyError if there is none."""
    for name in path:
        module = module.state["_modules"][name]
    return module


def build(state: dict[str, Tensor], settings: Settings) -> Network:
    """The network with these tensors. RuntimeError if they are not exactly its own."""
    for activation in (settings.activation, settings.mapping_activation):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation}, expected {', '.join(ACTIVATIONS)}")
    filters = {name: state.pop(name) for name in list(state) if name.endswith("resample_filter")}
    state["synthesis.fir"] = fir = filters["synthesis.b4.resample_filter"]
    if any(not other.equal(fir) for other in filters.values()):
        raise ValueError("its layers have different filters")
    shape = shape_of(state)
    with torch.device("meta"):  # takes no memory before it is known that the tensors fit
        sizes = {name: tensor.to("meta") for name, tensor in state.items()}
        Network(shape, settings, len(fir)).load_state_dict(sizes, assign=True)
    network = Network(shape, settings, len(fir))
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
