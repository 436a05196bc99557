"""Pickles of arrays, tensors and networks, read without executing any of them.

A pickle is a program: it names functions, and unpickling calls them. Here every name stands
for something in `values.py` that makes a plain value, and a name that is not known is refused.
So NVIDIA's networks can be read, whose pickles hold source code that pickle would run.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from raymetrics.errors import StorageError, UnsafePickle
from raymetrics.pickles.archives import DAMAGES, Archive
from raymetrics.pickles.reader import Reader
from raymetrics.pickles.values import NETWORK, Persistent, Refused

if TYPE_CHECKING:
    import torch

__all__ = ["DAMAGES", "NETWORK", "Archive", "Persistent", "read", "read_archive", "tensors"]


def read(data: bytes, where: str, storage: Callable[[Any], Any] | None = None) -> Any:
    """The value that was pickled; `where` names its place in errors.

    storage: gives what the pickle says lies outside of it; without one there is no such thing.

    Containers, numbers, text, numpy's arrays of numbers, torch's tensors; modules and
    NVIDIA's networks as `Persistent`, EasyDict as dict. UnsafePickle for a pickle that names
    anything else, StorageError for one that is cut off or damaged.
    """
    if data.startswith(b"PK"):
        raise StorageError(
            f"{where} is a zip archive, as torch.save and numpy.savez write; expected a pickle"
        )
    source = io.BytesIO(data)
    try:
        return Reader(source, storage).load()
    except Exception as error:
        cut = source.tell() == len(data) and not data.endswith(pickle.STOP)
        if isinstance(error, Refused) and not cut:
            raise UnsafePickle(
                f"the pickle {where} names {error}, and raymetrics executes no pickles; nothing of "
                "it was executed. Expected numbers, arrays, tensors and NVIDIA's networks: open it "
                "with the program that wrote it and save its arrays as .npz, its tensors as "
                ".safetensors"
            ) from None
        raise StorageError(
            f"{where} is {'cut off' if cut else 'damaged, or no pickle'}: "
            f"{type(error).__name__}: {error} ({len(data)} bytes); get the file again"
        ) from error


def read_archive(archive: Archive, where: str) -> Any:
    """What torch.save or torch.jit.save put into data.pkl, tensors as arrays; objects of
    TorchScript as `Persistent`. Errors of `read`, and `DAMAGES`."""
    return read(archive.read("data.pkl"), where, archive.storage)


def tensors(module: Persistent, prefix: str = "") -> dict[str, torch.Tensor]:
    """A module's parameters and buffers, and those of its modules, by dotted names."""
    found = {}
    for kind in ("_parameters", "_buffers"):
        for name, tensor in module.state.get(kind, {}).items():
            if tensor is not None:
                found[prefix + name] = tensor.detach()
    for name, inner in module.state.get("_modules", {}).items():
        if inner is not None:
            found |= tensors(inner, f"{prefix}{name}.")
    return found
