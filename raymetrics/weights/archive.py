"""TorchScript archives: networks with their code and their tensors, as `torch.jit.save` writes.

Their code is a program of tensor operations, compiled when it is opened, and no Python; no pickle
is executed. torch.export's archives (.pt2) are another matter: opening one may unpickle, evaluates
the expressions in it, and calls any function of torch that it names.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from raymetrics.errors import StorageError, UnsafePickle
from raymetrics.weights.state import State, read_state

# The operations of TorchScript that read and write files.
FILES = re.compile(r"\b(save|from_file)\(")
INSTEAD = "write a class that opens it, and give that as module:Class"


def is_archive(path: Path) -> bool:
    """Whether the file is a TorchScript archive; torch.save writes zip files too."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") for name in file.namelist())


def load_archive(file: Path | bytes, where: str, device: torch.device | str = "cpu") -> Any:
    """The network in a TorchScript archive, in evaluation mode.

    UnsafePickle for one that is no such archive or handles files, StorageError for a damaged one.
    """
    check(file, where)
    with warnings.catch_warnings():
        # torch points to torch.export, which is no safe format.
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated")
        try:
            network = torch.jit.load(opened(file), map_location=device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise StorageError(
                f"{where} cannot be loaded as TorchScript: {reason}; get it or save it again"
            ) from None
    return network.eval()


def opened(file: Path | bytes) -> Any:
    """What torch and zipfile open."""
    return io.BytesIO(file) if isinstance(file, bytes) else str(file)


def check(file: Path | bytes, where: str) -> None:
    """Looks into an archive without opening it: only TorchScript that leaves files alone passes."""
    try:
        with zipfile.ZipFile(opened(file)) as archive:
            names = archive.namelist()
            code = [archive.read(name) for name in names if re.search(r"/code/.*\.py$", name)]
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise StorageError(
            f"{where} is no TorchScript: {error}; expected torch.jit.save's"
        ) from None
    if any(re.search(r"^[^/]+/models/.*\.json$", name) for name in names):
        raise UnsafePickle(
            f"{where} is an archive of torch.export, which executes Python when it is opened; "
            f"save it by torch.jit.save, or {INSTEAD}"
        )
    if not code:
        raise UnsafePickle(
            f"{where} holds no TorchScript: torch.save's files of whole networks are pickles, and "
            f"raymetrics executes none; save it by torch.jit.save, or {INSTEAD}"
        )
    if found := FILES.search(b"\n".join(code).decode(errors="replace")):
        raise UnsafePickle(
            f"{where} calls {found[1]}, which reads or writes files; if you trust it, {INSTEAD}"
        )


def read_tensors(path: Path) -> State:
    """The tensors of a TorchScript archive, or of any file that `read_state` reads."""
    if not is_archive(path):
        return read_state(path)
    state = load_archive(path, str(path)).state_dict()
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
