"""Read pickles of arrays, tensors and networks without executing them.

A pickle is a program: it names functions, and unpickling calls them. Here every allowed name stands
for a function in `allowed_types` that makes a plain value, and every other name is refused. This
makes NVIDIA's networks readable, whose pickles hold source code that `pickle` would run.
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

_MAX_PREFIX_CHARACTERS = 1000


def read_pickle(data: bytes, where: str) -> Any:
    """Return the pickled value; `where` names the pickle in errors.

    Allowed are containers, numbers, text, and numpy's arrays of numbers. Torch's tensors become
    such arrays, bfloat16 as float32; modules and NVIDIA's networks become `PickledObject`, EasyDict
    becomes dict. Arrays are read-only. The result is at most 100 levels deep, and its size, with a
    value that is named n times counted n times, is proportional to the file's.

    Raise UnsafePickle for a pickle that names anything else, StorageError for a pickle that is
    truncated, damaged, or takes more memory or time than a file of its size should.
    """
    if data.startswith(b"PK"):
        raise StorageError(
            f"{where} is a zip archive, as torch.save and numpy.savez write; expected a pickle"
        )
    return _load_or_explain(
        data, where, lambda source: RestrictedUnpickler(source, Allowance(len(data))).load()
    )


def read_archive(archive: TorchArchive, where: str, folder: str = "data") -> Any:
    """Return the value in data.pkl of an archive of torch.save or torch.jit.save.

    Values are those of `read_pickle`; TorchScript's objects become `PickledObject`. folder: "data",
    whose storages lie in data/; or TorchScript's "constants". Errors as in `read_pickle`, and
    `DAMAGE_ERRORS`.
    """
    allowance, storage = Allowance(archive.size), partial(archive.storage, folder=folder)
    return _load_or_explain(
        archive.read(f"{folder}.pkl"),
        where,
        lambda source: RestrictedUnpickler(source, allowance, storage).load(),
    )


def read_torch_legacy(data: bytes, where: str) -> Any:
    """Return the value in a file that torch.save wrote before its zip format.

    Values and errors as in `read_pickle`.
    """
    return _load_or_explain(
        data, where, lambda source: read_legacy_file(source, Allowance(len(data)))
    )


def _load_or_explain(data: bytes, where: str, load: Callable[[io.BytesIO], Any]) -> Any:
    """Load a pickle; turn every error into UnsafePickle or StorageError that names the file."""
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
            f"{type(error).__name__}: {escape_unprintable(str(error), 300)} ({len(data)} bytes); "
            "get the file again"
        ) from error


def module_tensors(module: PickledObject, prefix: str = "") -> dict[str, torch.Tensor]:
    """Copy the parameters and buffers of a module and its submodules, by dotted names."""
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
    """List the first keys of a dictionary from a pickle, for an error."""
    listed = [
        escape_unprintable(key, 100) if isinstance(key, str) else describe_value(key)
        for key in contents
    ]
    return ", ".join(listed[:limit]) + (", ..." if len(listed) > limit else "")


def extend_prefix(prefix: str, name: str) -> str:
    """Append a module's name to a prefix. Raise ValueError beyond 1000 characters.

    A long prefix in front of many names would make a text longer than any memory.
    """
    if len(prefix) + len(name) > _MAX_PREFIX_CHARACTERS:
        raise ValueError(f"modules whose names are together longer than {_MAX_PREFIX_CHARACTERS}")
    return f"{prefix}{name}."
