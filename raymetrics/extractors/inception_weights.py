"""The files in which the weights of Inception-V3 of 2015-12-05 are published, all as one state.

pytorch-fid's and torch-fidelity's state dict; NVIDIA's TorchScript and pickle; TensorFlow's
graph, alone or in its archive. What a file holds decides, not its name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raymetrics import safe_pickle
from raymetrics.errors import ExtractorError
from raymetrics.extractors.inception_network import BLOCKS, STEM, unit_names
from raymetrics.safe_archives.damage import refuse_damage
from raymetrics.safe_archives.tar_headers import members_of, open_tar
from raymetrics.weights.state_dict import State, is_safetensors, read_state, unreadable
from raymetrics.weights.tensorflow_graph import Node, read_graph

GRAPH = "classify_image_graph_def.pb"
LARGEST = 1 << 30  # bytes of the graph in an archive; it has 92 M
ZIP, GZIP, PICKLE = b"PK", b"\x1f\x8b", b"\x80"
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch.save began before its zip files

# A batch norm's tensors in our state and in the graph.
NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
# A unit's tensors in NVIDIA's state and in ours.
NVIDIA = {
    "weight": "conv.weight",
    "beta": "bn.bias",
    "mean": "bn.running_mean",
    "var": "bn.running_var",
}


def read_inception(path: Path) -> State:
    """The tensors of a file of any layout, named as pytorch-fid names them.

    What is not known keeps its name. ExtractorError, UnsafePickle or StorageError for a file that
    is none of them.
    """
    with path.open("rb") as file:
        start = file.read(len(OLD_TORCH))
    if start.startswith(GZIP):
        return from_graph(read_graph(unpacked(path), f"{GRAPH} in {path}"), str(path))
    if start.startswith(PICKLE) and start != OLD_TORCH:
        return from_nvidia(from_pickle(path))
    if start == OLD_TORCH or start.startswith(ZIP) or is_safetensors(path):
        state = read_state(path)
        return from_nvidia(state) if "output.weight" in state else state
    return from_graph(read_graph(path.read_bytes(), str(path)), str(path))


def unpacked(path: Path) -> bytes:
    """The graph in TensorFlow's archive."""
    what = f"{path} is no archive that holds {GRAPH}, or a damaged one"
    with refuse_damage(ExtractorError, what, "get it again"), path.open("rb") as opened:
        archive = open_tar(opened, "gz")
        member = next((m for m in members_of(archive) if m.name == GRAPH), None)
        file = archive.extractfile(member) if member and member.size <= LARGEST else None
        if file is None:
            raise ValueError(f"no file of at most {LARGEST} bytes of this name")
        return file.read()


def from_pickle(path: Path) -> State:
    """The tensors of one of NVIDIA's networks, floats as float32; nothing of it is executed."""
    found = safe_pickle.read(path.read_bytes(), str(path))
    if not isinstance(found, safe_pickle.Persistent):
        raise ExtractorError(
            f"{path} is a pickle of {type(found).__name__}; expected one of NVIDIA's networks"
        )
    try:
        return {name: tensor.float() for name, tensor in safe_pickle.tensors(found).items()}
    except safe_pickle.DAMAGES as error:
        raise unreadable(path, error) from None


def graph_names() -> dict[str, str]:
    """The graph's name of every unit: {"Mixed_6b.branch7x7_2": "mixed_4/tower/conv_1", ...}."""
    names = {unit: numbered("conv", i) for i, unit in enumerate(STEM)}
    for i, (block, shape) in enumerate(BLOCKS.items()):
        mixed = numbered("mixed", i)
        towers = 0
        for branch, its in shape.branches.items():
            alone = len(its) == 1
            tower = mixed if alone else f"{mixed}/{numbered('tower', towers)}"
            towers += not alone
            for place, units in enumerate(unit_names(branch, its)):
                forked = [f"mixed/{numbered('conv', fork)}" for fork in range(len(units))]
                ends = forked if len(units) > 1 else [numbered("conv", place)]
                names |= {f"{block}.{u}": f"{tower}/{e}" for u, e in zip(units, ends, strict=True)}
        if shape.pool_channels:
            names[f"{block}.branch_pool"] = f"{mixed}/tower_2/conv"
    return names


def numbered(name: str, i: int) -> str:
    """TensorFlow's name of the i-th of several."""
    return f"{name}_{i}" if i else name


def from_nvidia(state: State) -> State:
    """From NVIDIA's names, layers.mixed_4.tower.conv_1.weight and the like.

    Their batch norms have no gamma: TensorFlow's are all 1 (tensorflow/tensorflow issue 564).
    """
    units = {name.replace("/", "_"): unit for unit, name in graph_names().items()}
    found = {}
    for key, tensor in state.items():
        name, _, kind = key.removeprefix("layers.").rpartition(".")
        # Dots or underscores divide a name, by the block.
        unit = units.get(name.replace(".", "_"))
        if unit and kind in NVIDIA:
            found[f"{unit}.{NVIDIA[kind]}"] = tensor
            if kind == "beta":
                found[f"{unit}.bn.weight"] = torch.ones_like(tensor)
        else:
            found[f"fc.{kind}" if name == "output" else key] = tensor
    return found


def from_graph(nodes: dict[str, Node], where: str) -> State:
    """The weights among the constants of TensorFlow's graph. ExtractorError if there are none."""
    constants = {name: node.attributes.get("value") for name, node in nodes.items()}
    found = {"fc.weight": "softmax/weights", "fc.bias": "softmax/biases"}
    for unit, name in graph_names().items():
        found[f"{unit}.conv.weight"] = f"{name}/conv2d_params"
        for ours, theirs in NORM.items():
            found[f"{unit}.bn.{ours}"] = f"{name}/batchnorm/{theirs}"
    state = {
        ours: in_our_order(value)
        for ours, theirs in found.items()
        if isinstance(value := constants.get(theirs), np.ndarray)
    }
    if not state:
        raise ExtractorError(
            f"{where} is a TensorFlow graph of {len(nodes)} nodes, and not that of Inception-V3 of "
            f"2015-12-05; expected {GRAPH}"
        )
    return state | unscaled(nodes, state)


def in_our_order(value: np.ndarray) -> Tensor:
    """Kernels are [h, w, in, out] in the graph, matrices [in, out]."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, range(value.ndim))
    return torch.from_numpy(np.ascontiguousarray(value.transpose(*axes)))


def unscaled(nodes: dict[str, Node], state: State) -> State:
    """The gammas that the graph holds and does not multiply by: 1 in their place."""
    return {
        f"{unit}.bn.weight": torch.ones_like(state[f"{unit}.bn.weight"])
        for unit, name in graph_names().items()
        if f"{unit}.bn.weight" in state and f"{name}/batchnorm" in nodes
        if nodes[f"{name}/batchnorm"].attributes.get("scale_after_normalization") is False
    }
