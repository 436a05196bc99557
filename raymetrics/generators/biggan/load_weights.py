"""Load a BigGAN-deep from the files of its PyTorch version: `config.json`, `pytorch_model.bin`."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import torch
from torch import Tensor

from raymetrics import safe_pickle
from raymetrics.errors import SourceError
from raymetrics.generators.biggan.architecture import NetworkShape, parse_config
from raymetrics.generators.biggan.network import BigGANNetwork
from raymetrics.generators.network_tensors import assign_tensors, fold_spectral_norms
from raymetrics.safe_archives.damage import require_undamaged

_WEIGHTS, _CONFIG = "pytorch_model.bin", "config.json"
_EXPECTED = (
    "expected the pytorch_model.bin of a BigGAN-deep, as pytorch-pretrained-biggan publishes it, "
    "with its config.json beside it"
)
_COLORS = 3
_LAST_LAYER = "generator.conv_to_rgb."


def config_path(path: str) -> str:
    """Return the path of the configuration that belongs to weights: the same name, with another
    end; so a-pytorch_model.bin has a-config.json.

    Raises SourceError for weights of another name.
    """
    if not path.endswith(_WEIGHTS):
        raise SourceError(f"{path} has another name than ...{_WEIGHTS}; {_EXPECTED}")
    return path.removesuffix(_WEIGHTS) + _CONFIG


def load_network(weights: bytes, config: bytes, path: str) -> BigGANNetwork:
    """Load the network from the bytes of its two files; `path` names the weights in errors.

    Raises SourceError for files of another network, and the errors of `safe_pickle` for weights
    that are no file of torch.save.
    """
    with require_undamaged(SourceError, f"{config_path(path)} is of no BigGAN-deep", _EXPECTED):
        shape = parse_config(config)
    with require_undamaged(SourceError, f"{path} is no BigGAN-deep", _EXPECTED):
        return _build_network(fold_spectral_norms(_read_tensors(weights, path)), shape)


def _read_tensors(data: bytes, path: str) -> dict[str, Tensor]:
    """Read the tensors of a file of torch.save by their names; raise ValueError for others."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with safe_pickle.TorchArchive(io.BytesIO(data)) as archive:
            content = safe_pickle.read_archive(archive, path)
    else:
        content = safe_pickle.read_torch_legacy(data, path)
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}")
    if not all(isinstance(value, np.ndarray) for value in content.values()):
        raise ValueError(
            f"it holds {safe_pickle.describe_keys(content)}, which are not all tensors"
        )
    return {str(name): torch.from_numpy(np.array(value)) for name, value in content.items()}


def _build_network(state: dict[str, Tensor], shape: NetworkShape) -> BigGANNetwork:
    """Build the network with these tensors; raise ValueError if they are of another network."""
    for name in ("weight", "bias"):  # the file has as many colors as channels, and uses three
        if _LAST_LAYER + name in state:
            state[_LAST_LAYER + name] = state[_LAST_LAYER + name][:_COLORS].clone()
    with torch.device("meta"):
        network = BigGANNetwork(shape)
    assign_tensors(network, state)
    return network
