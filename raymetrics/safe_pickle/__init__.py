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
from raymetrics.printable import printable
from raymetrics.safe_pickle.array_values import NUMBERS
from raymetrics.safe_pickle.records import NETWORK, Persistent, Refused, shown
from raymetrics.safe_pickle.size_limits import Allowance
from raymetrics.safe_pickle.torch_zip import DAMAGES, Archive
from raymetrics.safe_pickle.unpickler import Reader, read_legacy_file

if TYPE_CHECKING:
    import torch

__all__ = [
    "DAMAGES",
    "NETWORK",
    "NUMBERS",
    "Archive",
    "Persistent",
    "longer",
    "names",
    "read",
    "read_archive",
    "read_legacy",
    "tensors",
]

LONGEST_PREFIX = 1000  # characters


def read(data: bytes, where: str) -> Any:
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
    return _read(data, where, lambda source: Reader(source, Allowance(len(data))).load())


def read_archive(archive: Archive, where: str, folder: str = "data") -> Any:
    """Give what torch.save or torch.jit.save put into data.pkl, as `read` does; objects of
    TorchScript as `Persistent`. Errors of `read`, and `DAMAGES`.

    folder: "data", whose storages lie in data/; or "constants", of TorchScript.
    """
    allowance, storage = Allowance(archive.size), partial(archive.storage, folder=folder)
    return _read(
        archive.read(f"{folder}.pkl"),
        where,
        lambda source: Reader(source, allowance, storage).load(),
    )


def read_legacy(data: bytes, where: str) -> Any:
    """Give what torch.save wrote before its zip files, as `read` does, with errors of `read`."""
    return _read(data, where, lambda source: read_legacy_file(source, Allowance(len(data))))


def _read(data: bytes, where: str, load: Callable[[io.BytesIO], Any]) -> Any:
    source = io.BytesIO(data)
    try:
        return load(source)
    except RaymetricsError:
        raise
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
            f"{where} is {'cut off' if cut else 'damaged, or of another kind'}: "
            f"{type(error).__name__}: {printable(str(error), 300)} ({len(data)} bytes); get the "
            "file again"
        ) from error


def tensors(module: Persistent, prefix: str = "") -> dict[str, torch.Tensor]:
    """Copy a module's parameters and buffers, and those of its modules, by dotted names."""
    import torch

    found = {}
    for kind in ("_parameters", "_buffers"):
        for name, array in module.state.get(kind, {}).items():
            if array is not None:
                found[prefix + name] = torch.from_numpy(np.array(array))
    for name, inner in module.state.get("_modules", {}).items():
        if inner is not None:
            found |= tensors(inner, longer(prefix, name))
    return found


def names(contents: Mapping[Any, Any], most: int = 20) -> str:
    """List the first keys of what was read, for an error."""
    listed = [printable(key, 100) if isinstance(key, str) else shown(key) for key in contents]
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def longer(prefix: str, name: str) -> str:
    """Make the prefix of what is inside of a module. ValueError for a longer one than files have:
    of a long one in front of many names the text would be longer than any memory."""
    if len(prefix) + len(name) > LONGEST_PREFIX:
        raise ValueError(f"modules whose names are together longer than {LONGEST_PREFIX}")
    return f"{prefix}{name}."
