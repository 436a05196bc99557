"""Read the weights of Inception-V3 of 2015-12-05 from every layout in which they are published.

The layouts: the state dict of pytorch-fid and torch-fidelity; NVIDIA's TorchScript and pickle;
TensorFlow's graph, alone or in its archive. The bytes of a file decide which layout it has; the
name of the file does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raymetrics import safe_pickle
from raymetrics.errors import ExtractorError
from raymetrics.extractors.inception_network import BLOCKS, STEM, unit_names
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.tar_headers import open_tar, tar_members
from raymetrics.weights.state_dict import StateDict, is_safetensors, read_state, unreadable_error
from raymetrics.weights.tensorflow_graph import GraphNode, read_graph

GRAPH = "classify_image_graph_def.pb"
_MAX_GRAPH_BYTES = 1 << 30  # of the graph in an archive; the published graph has 92 MB
_ZIP_MAGIC, _GZIP_MAGIC, _PICKLE_MAGIC = b"PK", b"\x1f\x8b", b"\x80"
_OLD_TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before its zip format

# A batch norm's tensors: name in this package's state -> name in the graph.
_NORM_TENSORS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
# A unit's tensors: name in NVIDIA's state -> name in this package's state.
NVIDIA_TENSORS = {
    "weight": "conv.weight",
    "beta": "bn.bias",
    "mean": "bn.running_mean",
    "var": "bn.running_var",
}


def read_inception(path: Path) -> StateDict:
    """Read the tensors of a file of any known layout, under pytorch-fid's names.

    Tensors with unknown names keep their names. Raises ExtractorError, UnsafePickle or
    StorageError for a file of another layout.
    """
    with path.open("rb") as file:
        start = file.read(len(_OLD_TORCH_MAGIC))
    if start.startswith(_GZIP_MAGIC):
        return _state_from_graph(read_graph(_read_tgz(path), f"{GRAPH} in {path}"), str(path))
    if start.startswith(_PICKLE_MAGIC) and start != _OLD_TORCH_MAGIC:
        return _rename_nvidia_state(_read_nvidia_pickle(path))
    if start == _OLD_TORCH_MAGIC or start.startswith(_ZIP_MAGIC) or is_safetensors(path):
        state = read_state(path)
        return _rename_nvidia_state(state) if "output.weight" in state else state
    return _state_from_graph(read_graph(path.read_bytes(), str(path)), str(path))


def _read_tgz(path: Path) -> bytes:
    """Read the graph's bytes from TensorFlow's archive; raise ExtractorError without a graph."""
    what = f"{path} is no archive that holds {GRAPH}, or a damaged one"
    with require_undamaged(ExtractorError, what, "get it again"), path.open("rb") as archive_file:
        archive = open_tar(archive_file, "gz")
        member = next((m for m in tar_members(archive) if m.name == GRAPH), None)
        file = archive.extractfile(member) if member and member.size <= _MAX_GRAPH_BYTES else None
        if file is None:
            raise ValueError(f"no file of at most {_MAX_GRAPH_BYTES} bytes of this name")
        return file.read()


def _read_nvidia_pickle(path: Path) -> StateDict:
    """Read the tensors of one of NVIDIA's pickled networks as float32, without executing code.

    Raises ExtractorError if the pickle holds something else.
    """
    content = safe_pickle.read_pickle(path.read_bytes(), str(path))
    if not isinstance(content, safe_pickle.PickledObject):
        raise ExtractorError(
            f"{path} is a pickle of {type(content).__name__}; expected one of NVIDIA's networks"
        )
    try:
        return {
            name: tensor.float() for name, tensor in safe_pickle.module_tensors(content).items()
        }
    except safe_pickle.DAMAGE_ERRORS as error:
        raise unreadable_error(path, error) from None


def graph_names() -> dict[str, str]:
    """Return the graph's name of each unit.

    For instance {"Mixed_6b.branch7x7_2": "mixed_4/tower/conv_1", ...}.
    """
    names = {unit: _tf_name("conv", i) for i, unit in enumerate(STEM)}
    for i, (block, shape) in enumerate(BLOCKS.items()):
        mixed = _tf_name("mixed", i)
        towers = 0
        for branch, steps in shape.branches.items():
            has_one_step = len(steps) == 1
            tower = mixed if has_one_step else f"{mixed}/{_tf_name('tower', towers)}"
            towers += not has_one_step
            for step_number, units in enumerate(unit_names(branch, steps)):
                forked = [f"mixed/{_tf_name('conv', fork)}" for fork in range(len(units))]
                suffixes = forked if len(units) > 1 else [_tf_name("conv", step_number)]
                names |= {
                    f"{block}.{u}": f"{tower}/{e}" for u, e in zip(units, suffixes, strict=True)
                }
        if shape.pool_channels:
            names[f"{block}.branch_pool"] = f"{mixed}/tower_2/conv"
    return names


def _tf_name(name: str, i: int) -> str:
    """Return TensorFlow's name for number i of several things called `name`, counted from 0."""
    return f"{name}_{i}" if i else name


def _rename_nvidia_state(state: StateDict) -> StateDict:
    """Rename NVIDIA's tensors, such as layers.mixed_4.tower.conv_1.weight, to pytorch-fid's names.

    NVIDIA's batch norms have no gamma, so gammas of 1 are added: TensorFlow's network uses none
    (tensorflow/tensorflow issue 564).
    """
    units = {name.replace("/", "_"): unit for unit, name in graph_names().items()}
    renamed_state = {}
    for key, tensor in state.items():
        name, _, kind = key.removeprefix("layers.").rpartition(".")
        # The separator in a name is a dot in some blocks, and an underscore in others.
        unit = units.get(name.replace(".", "_"))
        if unit and kind in NVIDIA_TENSORS:
            renamed_state[f"{unit}.{NVIDIA_TENSORS[kind]}"] = tensor
            if kind == "beta":
                renamed_state[f"{unit}.bn.weight"] = torch.ones_like(tensor)
        else:
            renamed_state[f"fc.{kind}" if name == "output" else key] = tensor
    return renamed_state


def _state_from_graph(nodes: dict[str, GraphNode], where: str) -> StateDict:
    """Collect the weights among the constants of TensorFlow's graph.

    Raises ExtractorError if no constant is a weight of Inception-V3.
    """
    constants = {name: node.attributes.get("value") for name, node in nodes.items()}
    constant_names = {"fc.weight": "softmax/weights", "fc.bias": "softmax/biases"}
    for unit, name in graph_names().items():
        constant_names[f"{unit}.conv.weight"] = f"{name}/conv2d_params"
        for tensor_name, graph_name in _NORM_TENSORS.items():
            constant_names[f"{unit}.bn.{tensor_name}"] = f"{name}/batchnorm/{graph_name}"
    state = {
        tensor_name: _to_torch_layout(value)
        for tensor_name, graph_name in constant_names.items()
        if isinstance(value := constants.get(graph_name), np.ndarray)
    }
    if not state:
        raise ExtractorError(
            f"{where} is a TensorFlow graph of {len(nodes)} nodes, and not that of Inception-V3 of "
            f"2015-12-05; expected {GRAPH}"
        )
    return state | _missing_gammas(nodes, state)


def _to_torch_layout(value: np.ndarray) -> Tensor:
    """Convert an array from TensorFlow's layout to torch's.

    Kernels are [h, w, in, out] in the graph, matrices [in, out].
    """
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, range(value.ndim))
    return torch.from_numpy(np.ascontiguousarray(value.transpose(*axes)))


def _missing_gammas(nodes: dict[str, GraphNode], state: StateDict) -> StateDict:
    """Return gammas of 1 for the batch norms whose gammas the graph holds but does not use."""
    return {
        f"{unit}.bn.weight": torch.ones_like(state[f"{unit}.bn.weight"])
        for unit, name in graph_names().items()
        if f"{unit}.bn.weight" in state and f"{name}/batchnorm" in nodes
        if nodes[f"{name}/batchnorm"].attributes.get("scale_after_normalization") is False
    }
