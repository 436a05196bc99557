"""Files of weights: where they lie, and that they are what they should be.

Nothing is unpickled but tensors, and nothing is used whose SHA-256 is not the expected one.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from raymetrics.errors import ExtractorError


@dataclass(frozen=True)
class Weights:
    """A file of weights by name and digest; `locate` says where it lies on this machine."""

    name: str
    sha256: str
    locate: Callable[[], Path]


def verified(weights: Weights) -> Path:
    """The path of the file, after its digest was checked. ExtractorError if it differs."""
    path = weights.locate()
    if not path.is_file():
        raise ExtractorError(f"weights {weights.name} not found at {path}; install them again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights.sha256:
        raise ExtractorError(
            f"weights at {path} have SHA-256 {found[:12]}..., expected {weights.sha256[:12]}...; "
            "the file is damaged or another version: install it again"
        )
    return path


def load_state_dict(
    weights: Weights, *, inside: str | None = None, prefix: str = ""
) -> dict[str, Tensor]:
    """The tensors of a .safetensors or torch file, floats as float32.

    inside: the entry of the file that holds the state, if the file holds more than that.
    prefix: taken off the names.
    """
    path = verified(weights)
    state: Any
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise ExtractorError(
                f"weights at {path} are a pickle that holds more than tensors; raymetrics executes "
                "no pickles: save the state_dict alone, best as .safetensors"
            ) from None
    if inside is not None:
        state = state[inside]
    return {
        name.removeprefix(prefix): value.float() if value.is_floating_point() else value
        for name, value in state.items()
    }
