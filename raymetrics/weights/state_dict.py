"""Read the tensors in a file of weights, and load them into a network."""

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
_COUNTER_SUFFIX = "num_batches_tracked"  # needed by training only, and present in some files only


def load_state_dict(
    weights: WeightsFile, *, entry: str | None = None, prefix: str = ""
) -> StateDict:
    """Check the digest of a known file and return its tensors, as `read_state` does."""
    return read_state(require_valid_path(weights), entry=entry, prefix=prefix)


def read_state(path: Path, *, entry: str | None = None, prefix: str = "") -> StateDict:
    """Read the tensors of a .safetensors, torch or TorchScript file, floats as float32.

    The content decides the format, not the name; nothing in the file is executed.

    entry: the entry that holds the state, if the file holds more than that. prefix: removed from
    the names. Raise ExtractorError for a file that holds anything else, or is damaged.
    """
    state = _read_contents(path)
    if entry is not None and isinstance(state, Mapping):
        state = state.get(entry)
    return _named_tensors(state, path, entry, prefix)


def read_model_state(path: Path) -> StateDict:
    """Read the tensors of a file as `read_state` does; of a training's state, those of its model.

    Such a file holds the tensors under `model`.
    """
    state = _read_contents(path)
    entry = "model" if isinstance(state, Mapping) and "model" in state else None
    return _named_tensors(state if entry is None else state[entry], path, entry)


def _named_tensors(state: Any, path: Path, entry: str | None, prefix: str = "") -> StateDict:
    """Return the tensors of a state by their names without a prefix, floats as float32.

    Raise ExtractorError for a state that holds anything else.
    """
    entries: Any = state.items() if isinstance(state, Mapping) else [(None, None)]
    if not all(isinstance(name, str) and _is_tensor(value) for name, value in entries):
        place = f"{path}, entry {entry!r}," if entry is not None else f"{path}"
        raise ExtractorError(
            f"weights at {place} are not tensors by their names; save the state_dict alone, best "
            "as .safetensors"
        )
    return {name.removeprefix(prefix): _float_tensor(value) for name, value in entries}


def _is_tensor(value: object) -> bool:
    """Return whether the value is a tensor, or an array whose number type torch has too."""
    return isinstance(value, Tensor) or (
        isinstance(value, np.ndarray) and value.dtype.str in safe_pickle.TORCH_NUMBERS
    )


def _float_tensor(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
    return tensor.float() if tensor.is_floating_point() else tensor


def _read_contents(path: Path) -> Any:
    """Read a file of any of the three formats."""
    if is_safetensors(path):
        return _load_safetensors(path)
    return _load_torchscript(path) if is_torchscript(path) else _load_torch(path)


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins like .safetensors: the length of a JSON text, and the text."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length < path.stat().st_size


def _load_safetensors(path: Path) -> StateDict:
    """Read the tensors of a .safetensors file. Raise ExtractorError for a damaged file."""
    try:
        return load_file(path)
    except Exception as error:
        raise unreadable_error(path, error) from None


def _load_torchscript(path: Path) -> StateDict:
    """Read the tensors of a TorchScript archive; its program is not run.

    Raise ExtractorError, UnsafePickle or StorageError for an archive that is damaged or holds
    anything else.
    """
    try:
        return read_torchscript_tensors(path)
    except safe_pickle.DAMAGE_ERRORS as error:
        raise unreadable_error(path, error) from None


def _load_torch(path: Path) -> Any:
    """Read a file of torch.save, tensors as arrays.

    torch.load is not used, because a file of a hundred bytes can make it fill the memory. Raise
    ExtractorError for a damaged file, UnsafePickle for a file that holds more than tensors and
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
    """Make the error for a damaged file."""
    reason = escape_unprintable(str(error).strip().partition("\n")[0], 300)
    return ExtractorError(
        f"weights at {path} cannot be read ({path.stat().st_size} bytes): {type(error).__name__}: "
        f"{reason}; the file is damaged or no file of weights: get it again"
    )


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of named tensors; equal weights give the same digest from any file."""
    total = hashlib.sha256()
    for name in sorted(state):
        if name.endswith(_COUNTER_SUFFIX):
            continue
        values = np.ascontiguousarray(state[name].cpu().numpy())
        total.update(f"{name} {values.dtype.str} {values.shape};".encode())
        total.update(values.data)
    return total.hexdigest()


def load_into_network(network: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load weights into a network.

    Raise ExtractorError, which lists missing, unexpected and misshapen tensors, unless they fit.
    """
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
    """Format the first few names."""
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")
