"""Load a StyleGAN2 or a StyleGAN from a file of NVIDIA's programs or of GenForce."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
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
from raymetrics.generators.stylegan2.build_network import build_network
from raymetrics.generators.stylegan2.layers import ACTIVATIONS
from raymetrics.generators.stylegan2.mapping import Mapping
from raymetrics.generators.stylegan2.synthesis import Synthesis
from raymetrics.printable import escape_unprintable
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_pickle import PickledObject

if TYPE_CHECKING:
    from raymetrics.generators.stylegan1.network import StyleGANNetwork

_COPY_HINT = "was it copied to the end?"
OTHER_NETWORKS_HINT = (
    "raymetrics has networks of its own for pickles of StyleGAN, StyleGAN2 and Projected FastGAN: "
    "for others write a class around their program and give it as module:Class"
)


class StyleGAN2Network(nn.Module):
    """A StyleGAN2 network: the submodules `mapping` and `synthesis`."""

    family = "stylegan2"

    def __init__(self, shape: NetworkShape, settings: Settings, filter_size: int) -> None:
        super().__init__()
        self.shape = shape
        self.mapping = Mapping(shape, settings)
        self.synthesis = Synthesis(shape, settings, filter_size)


def load_network(data: bytes, where: str) -> StyleGAN2Network | StyleGANNetwork:
    """Load the network in a file, with the averaged weights (`G_ema`, `Gs`) if it has them.

    where: the file's name; what ends in .pth is a file of torch.save, all else a plain pickle.
    Raises SourceError, with a description of the content, for any other network, and the errors of
    `safe_pickle` for a file that is no pickle.
    """
    read = _read_torch_file if where.endswith(".pth") else safe_pickle.read_pickle
    content = read(data, where)
    with require_undamaged(
        SourceError, f"{where} is no StyleGAN or StyleGAN2", OTHER_NETWORKS_HINT
    ):
        try:
            return _load_content(content, where, len(data))
        except KeyError as error:
            raise SourceError(
                f"{where} lacks {error}, which these networks have; {OTHER_NETWORKS_HINT}"
            ) from None


def _read_torch_file(data: bytes, where: str) -> Any:
    """Return the value in a file of torch.save, of its zip format or the one before.

    Raises SourceError for a damaged zip, and the errors of `safe_pickle`.
    """
    if not data.startswith(b"PK"):
        return safe_pickle.read_torch_legacy(data, where)
    damage = require_undamaged(SourceError, f"{where} is no whole file of torch.save", _COPY_HINT)
    with damage, safe_pickle.TorchArchive(io.BytesIO(data)) as archive:
        return safe_pickle.read_archive(archive, where)


def _load_content(content: Any, where: str, size: int) -> StyleGAN2Network | StyleGANNetwork:
    """Load the network in the content of a file of `size` bytes."""
    # Imported here, as StyleGAN's network is made of parts of this package.
    from raymetrics.generators.stylegan1.load_state import (
        BUILDER,
        load_genforce_network,
        load_tensorflow_network,
    )

    genforce_tensors = _find_genforce_tensors(content)
    if genforce_tensors is not None:
        return load_genforce_network(genforce_tensors, size)
    generator = _find_generator(content, where)
    if generator.class_name != safe_pickle.TENSORFLOW_NETWORK:
        state, settings = _read_pytorch_state(generator, where)
        require_tensors_fit(sum(tensor.numel() for tensor in state.values()), size)
        return _build_stylegan2(state, settings)
    if load_tensorflow.builder_name(generator.state) == BUILDER:
        return load_tensorflow_network(generator.state, size)
    return _build_stylegan2(*load_tensorflow.read_tensorflow_state(generator.state, size))


def _find_genforce_tensors(content: Any) -> dict[str, np.ndarray] | None:
    """Return the tensors of GenForce's generator, the averaged one if there is one; else None."""
    models = content.get("models", content) if isinstance(content, dict) else {}
    for name in ("generator_smooth", "generator"):
        tensors = models.get(name) if isinstance(models, dict) else None
        if isinstance(tensors, dict):
            return tensors
    return None


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


def _build_stylegan2(state: dict[str, Tensor], settings: Settings) -> StyleGAN2Network:
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
    network = build_network(lambda: StyleGAN2Network(shape, settings, len(fir)), state)
    for layer in network.synthesis.convolutions():
        layer.compute_energy()
    return network
