"""TorchScript archives: networks with their code and their tensors, as `torch.jit.save` writes.

Their code is TorchScript's own, which reads and writes no files of its choosing; no pickle of
Python is executed.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from raymetrics.errors import ExtractorError
from raymetrics.weights.state import State, read_state


def is_archive(path: Path) -> bool:
    """Whether the file is a TorchScript archive; torch.save writes zip files too."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        return any(name.endswith("/constants.pkl") for name in file.namelist())


def load_archive(path: Path, device: torch.device | str = "cpu") -> Any:
    """The network in a TorchScript archive. ExtractorError if it is none, or damaged."""
    with warnings.catch_warnings():
        # The format is deprecated, and the files that are there remain.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            return torch.jit.load(str(path), map_location=device)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ExtractorError(f"{path} cannot be loaded as TorchScript: {reason}") from None


def read_tensors(path: Path) -> State:
    """The tensors of a TorchScript archive, or of any file that `read_state` reads."""
    if not is_archive(path):
        return read_state(path)
    state = load_archive(path).state_dict()
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
