"""The tensors in a file of weights, and into a network."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from raymetrics import safe_pickle
from raymetrics.errors import ExtractorError, StorageError
from raymetrics.printable import escape_unprintable
from raymetrics.weights.locate import WeightsFile, require_valid_path
from raymetrics.weights.torchscript_tensors import is_torchscript, read_torchscript_tensors

StateDict = dict[str, Tensor]
_COUNTER_SUFFIX = "num_batches_tracked"  # which only training needs, and only some files hold


def load_state_dict(
    weights: WeightsFile, *, entry: str | None = None, prefix: str = ""
) -> StateDict:
    """The tensors of a known file, after its digest was checked; as `read_state` gives them."""
    return read_state(require_valid_path(weights), entry=entry, prefix=prefix)


def read_state(path: Path, *, entry: str | None = None, prefix: str = "") -> StateDict:
    """Read the tensors of a .safetensors, torch or TorchScript file, floats as float32.

    What it holds decides, not its name; nothing in it is executed.

    inside: the entry of the file that holds the state, if the file holds more than that.
    prefix: taken off the names. ExtractorError for a file that holds anything else, or is damaged.
    """
    state = _read_contents(path)
    if entry is not None and isinstance(state, Mapping):
        state = state.get(entry)
    entries: Any = state.items() if isinstance(state, Mapping) else [(None, None)]
    if not all(isinstance(name, str) and _is_tensor(value) for name, value in entries):
        place = f"{path}, entry {entry!r}," if entry is not None else f"{path}"
        raise ExtractorError(
            f"weights at {place} are not tensors by their names; save the state_dict alone, best "
            "as .safetensors"
        )
    return {name.removeprefix(prefix): _float_tensor(value) for name, value in entries}


def _is_tensor(value: object) -> bool:
    """Whether this is a tensor, or an array of numbers that torch has too."""
    return isinstance(value, Tensor) or (
        isinstance(value, np.ndarray) and value.dtype.str in safe_pickle.TORCH_NUMBERS
    )


def _float_tensor(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
    return tensor.float() if tensor.is_floating_point() else tensor


def _read_contents(path: Path) -> Any:
    """What a file of any of the three kinds holds."""
    if is_safetensors(path):
        return _load_safetensors(path)
    return _load_torchscript(path) if is_torchscript(path) else _load_torch(path)


def is_safetensors(path: Path) -> bool:
    """Whether the file begins as one: the length of a text in JSON, and that text."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length < path.stat().st_size


def _load_safetensors(path: Path) -> StateDict:
    """Read the tensors of a .safetensors file. ExtractorError for a damaged one."""
    try:
        return load_file(path)
    except Exception as error:
        raise unreadable_error(path, error) from None


def _load_torchscript(path: Path) -> StateDict:
    """Read the tensors of a TorchScript archive, whose program is not run.

    ExtractorError, UnsafePickle or StorageError for one that is damaged or holds anything else.
    """
    try:
        return read_torchscript_tensors(path)
    except safe_pickle.DAMAGE_ERRORS as error:
        raise unreadable_error(path, error) from None


def _load_torch(path: Path) -> Any:
    """Read what torch.save has written, tensors as arrays.

    Not by torch.load, which a file of a hundred bytes can make fill the memory.
    ExtractorError for a damaged one, UnsafePickle for one that holds more than tensors and
    containers.
    """
    try:
        if not zipfile.is_zipfile(path):
            return safe_pickle.read_torch_legacy(path.read_bytes(), str(path))
        with safe_pickle.TorchArchive(str(path)) as archive:
            return safe_pickle.read_archive(archive, str(path))
    except StorageError as error:
        raise ExtractorError(f"weights: {error}") from None
    except safe_pickle.DAMAGE_ERRORS as error:
        raise unreadable_error(path, error) from None


def unreadable_error(path: Path, error: Exception) -> ExtractorError:
    """Say what is wrong with a damaged file."""
    reason = escape_unprintable(str(error).strip().partition("\n")[0], 300)
    return ExtractorError(
        f"weights at {path} cannot be read ({path.stat().st_size} bytes): {type(error).__name__}: "
        f"{reason}; the file is damaged or no file of weights: get it again"
    )


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors by name. Of the same weights it is the same, whatever file held them."""
    total = hashlib.sha256()
    for name in sorted(state):
        if name.endswith(_COUNTER_SUFFIX):
            continue
        values = np.ascontiguousarray(state[name].cpu().numpy())
        total.update(f"{name} {values.dtype.str} {values.shape};".encode())
        total.update(values.data)
    return total.hexdigest()


def load_into_network(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Gives a network its weights. ExtractorError lists what is missing, left over or misshapen."""
    network_state = network.state_dict()
    needed = {name for name in network_state if not name.endswith(_COUNTER_SUFFIX)}
    provided = {name for name in state if not name.endswith(_COUNTER_SUFFIX)}
    wrong = [
        f"{name} {list(state[name].shape)} instead of {list(network_state[name].shape)}"
        for name in sorted(needed & provided)
        if state[name].shape != network_state[name].shape
    ]
    problems = {
        "missing": sorted(needed - provided),
        "unexpected": sorted(provided - needed),
        "misshapen": wrong,
    }
    summary = "; ".join(
        f"{len(keys)} {kind}: {_first_names(keys)}" for kind, keys in problems.items() if keys
    )
    if summary:
        raise ExtractorError(
            f"weights at {where} are not those of this network ({summary}); "
            "give the file of this network"
        )
    network.load_state_dict({**network_state, **{name: state[name] for name in needed}})


def _first_names(keys: list[str], limit: int = 5) -> str:
    """The first few of them."""
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
