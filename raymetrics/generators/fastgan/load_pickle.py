"""Load a Projected FastGAN from a pickle of Projected GAN's program."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from raymetrics import safe_pickle
from raymetrics.errors import SourceError
from raymetrics.generators.fastgan.architecture import infer_shape
from raymetrics.generators.fastgan.network import FastGANNetwork
from raymetrics.generators.network_files import read_start
from raymetrics.generators.network_tensors import assign_tensors, fold_spectral_norms
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_pickle import PickledObject

# The class of the network, which its pickles name near their start.
_CLASS = b"FastganSynthesis"
_START_BYTES = 1 << 20
_EXPECTED = (
    "expected G_ema of Projected GAN with the option --cfg=fastgan or fastgan_lite; for other "
    "networks write a class around their program and give it as module:Class"
)
_COUNTER = ".num_batches_tracked"  # needed by training only
_TRANSPOSED = ("init.init.0",)
_UNUSED = {128: ("feat_256.", "se_256.")}  # the program makes them for small images too


def is_fastgan(path: str) -> bool:
    """Return whether the pickle at a path names FastGAN's class; raises as `read_bytes`."""
    return _CLASS in read_start(path, _START_BYTES)


def load_network(data: bytes, where: str) -> FastGANNetwork:
    """Load the network in a pickle, `G_ema`, with the averaged weights.

    Raises SourceError, with a description of the content, for any other network, and the errors of
    `safe_pickle.read_pickle` for a file that is no pickle or names more than networks.
    """
    content = safe_pickle.read_pickle(data, where)
    with require_undamaged(SourceError, f"{where} is no Projected FastGAN", _EXPECTED):
        generator = _find_generator(content)
        return _build_network(generator)


def _find_generator(content: Any) -> PickledObject:
    """Return G_ema; raise ValueError, which says what is there, for other content."""
    found = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(found, PickledObject):
        is_dictionary = isinstance(content, dict)
        kind = safe_pickle.describe_keys(content) if is_dictionary else type(content).__name__
        raise ValueError(f"it holds {kind}")
    return found


def _build_network(generator: PickledObject) -> FastGANNetwork:
    """Build the network of a `Generator`; raise KeyError or ValueError for other networks."""
    synthesis = generator.state["_modules"]["synthesis"]
    resolution, classes = synthesis.state["img_resolution"], generator.state["c_dim"]
    state = fold_spectral_norms(_read_state(synthesis, resolution), _TRANSPOSED)
    shape = infer_shape(state, resolution, classes)
    with torch.device("meta"):
        network = FastGANNetwork(shape)
    assign_tensors(network, state)
    return network


def _read_state(synthesis: PickledObject, resolution: int) -> dict[str, Tensor]:
    """Read the tensors that images of this resolution need."""
    unused = _UNUSED.get(resolution, ())
    return {
        name: tensor
        for name, tensor in safe_pickle.module_tensors(synthesis).items()
        if not name.endswith(_COUNTER) and not name.startswith(unused)
    }
