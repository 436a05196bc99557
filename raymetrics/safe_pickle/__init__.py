"""Pickles of arrays, tensors and networks, read without executing any of them.

A pickle is a program: it names functions, and unpickling calls them. Here every name stands
for something in `values.py` that makes a plain value, and a name that is not known is refused.
So NVIDIA's networks can be read, whose pickles hold source code that pickle would run.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from raymetrics.errors import RaymetricsError, StorageError, UnsafePickle
from raymetrics.printable import escape_unprintable
from raymetrics.safe_pickle.array_values import TORCH_NUMBERS
from raymetrics.safe_pickle.records import (
    TENSORFLOW_NETWORK,
    ForbiddenName,
    PickledObject,
    describe_value,
)
from raymetrics.safe_pickle.size_limits import Allowance
from raymetrics.safe_pickle.torch_zip import DAMAGE_ERRORS, TorchArchive
from raymetrics.safe_pickle.unpickler import RestrictedUnpickler, read_legacy_file

if TYPE_CHECKING:
    import torch

__all__ = [
    "DAMAGE_ERRORS",
    "TENSORFLOW_NETWORK",
    "TORCH_NUMBERS",
    "PickledObject",
    "TorchArchive",
    "describe_keys",
    "extend_prefix",
    "module_tensors",
    "read_archive",
    "read_pickle",
    "read_torch_legacy",
]

_MAX_PREFIX_CHARACTERS = 1000  # characters


def read_pickle(data: bytes, where: str) -> Any:
    """Give the value that was pickled; `where` names its place in errors.

    Containers, numbers, text, numpy's arrays of numbers; torch's tensors as such arrays, bfloat16
    as float32; modules and NVIDIA's networks as `Persistent`, EasyDict as dict. Arrays are
    read-only. What comes out is at most 100 deep and, with what is named often written out as
    often, of a size in proportion to the file.

    UnsafePickle for a pickle that names anything else, StorageError for one that is cut off,
    damaged, or made to take more memory or time than such a file should.
    """
    if data.startswith(b"PK"):
        raise StorageError(
            f"{where} is a zip archive, as torch.save and numpy.savez write; expected a pickle"
        )
    return _load_or_explain(
        data, where, lambda source: RestrictedUnpickler(source, Allowance(len(data))).load()
    )


def read_archive(archive: TorchArchive, where: str, folder: str = "data") -> Any:
    """Give what torch.save or torch.jit.save put into data.pkl, as `read` does; objects of
    TorchScript as `Persistent`. Errors of `read`, and `DAMAGES`.

    folder: "data", whose storages lie in data/; or "constants", of TorchScript.
    """
    allowance, storage = Allowance(archive.size), partial(archive.storage, folder=folder)
    return _load_or_explain(
        archive.read(f"{folder}.pkl"),
        where,
        lambda source: RestrictedUnpickler(source, allowance, storage).load(),
    )


def read_torch_legacy(data: bytes, where: str) -> Any:
    """Give what torch.save wrote before its zip files, as `read` does, with errors of `read`."""
    return _load_or_explain(
        data, where, lambda source: read_legacy_file(source, Allowance(len(data)))
    )


def _load_or_explain(data: bytes, where: str, load: Callable[[io.BytesIO], Any]) -> Any:
    source = io.BytesIO(data)
    try:
        return load(source)
    except RaymetricsError:
        raise
    except Exception as error:
        cut = source.tell() == len(data) and not data.endswith(pickle.STOP)
        if isinstance(error, ForbiddenName) and not cut:
            raise UnsafePickle(
                f"the pickle {where} names {error}, and raymetrics executes no pickles; nothing of "
                "it was executed. Expected numbers, arrays, tensors and NVIDIA's networks: open it "
                "with the program that wrote it and save its arrays as .npz, its tensors as "
                ".safetensors"
            ) from None
        raise StorageError(
            f"{where} is {'cut off' if cut else 'damaged, or of another kind'}: "
            f"{type(error).__name__}: {escape_unprintable(str(error), 300)} ({len(data)} bytes); get the "
            "file again"
        ) from error


def module_tensors(module: PickledObject, prefix: str = "") -> dict[str, torch.Tensor]:
    """Copy a module's parameters and buffers, and those of its modules, by dotted names."""
    import torch

    collected = {}
    for kind in ("_parameters", "_buffers"):
        for name, array in module.state.get(kind, {}).items():
            if array is not None:
                collected[prefix + name] = torch.from_numpy(np.array(array))
    for name, inner in module.state.get("_modules", {}).items():
        if inner is not None:
            collected |= module_tensors(inner, extend_prefix(prefix, name))
    return collected


def describe_keys(contents: Mapping[Any, Any], limit: int = 20) -> str:
    """List the first keys of what was read, for an error."""
    listed = [
        escape_unprintable(key, 100) if isinstance(key, str) else describe_value(key)
        for key in contents
    ]
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def extend_prefix(prefix: str, name: str) -> str:
    """Make the prefix of what is inside of a module. ValueError for a longer one than files have:
    of a long one in front of many names the text would be longer than any memory."""
    if len(prefix) + len(name) > _MAX_PREFIX_CHARACTERS:
        raise ValueError(f"modules whose names are together longer than {_MAX_PREFIX_CHARACTERS}")
    return f"{prefix}{name}."
