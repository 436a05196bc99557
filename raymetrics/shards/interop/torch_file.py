"""Arrays out of what torch.save wrote, without torch and without executing anything.

Such a file is a zip: data.pkl, and the bytes of every tensor's storage under data/. What holds
numpy arrays only (torch-fidelity's statistics) has no storages.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from typing import Any

import numpy as np

from raymetrics import pickles
from raymetrics.errors import UnsafePickle

DTYPES = {"torch.HalfStorage": "f2", "torch.FloatStorage": "f4", "torch.DoubleStorage": "f8"}


def read(file: Any, where: str) -> Any:
    """The value that was saved, tensors as arrays. ValueError or BadZipFile if it is damaged,
    UnsafePickle if it is more than contiguous tensors of floats, arrays and containers."""
    with zipfile.ZipFile(file) as archive:
        data = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
        if data is None:
            raise ValueError("a zip without data.pkl")
        folder = data.removesuffix("data.pkl")
        if not any(name.startswith(f"{folder}data/") for name in archive.namelist()):
            return pickles.read(archive.read(data), where)
        order = f"{folder}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("written on a big-endian machine")
        return _Reader(archive, folder, where).load()


class _Reader(pickle.Unpickler):
    """An unpickler for which there are three names, none of them a program."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, where: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self.archive, self.folder, self.where = archive, folder, where

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        known = {
            "torch._utils._rebuild_tensor_v2": _contiguous,
            "collections.OrderedDict": OrderedDict,
            **DTYPES,
        }
        if full not in known:
            raise UnsafePickle(
                f"{self.where} names {full}, expected tensors of floats alone; nothing of it was "
                "executed: save its arrays as .npz with the program that wrote it"
            )
        return known[full]

    def persistent_load(self, pid: Any) -> np.ndarray:
        """("storage", dtype, key, device, count) -> its numbers."""
        _, dtype, key, _, _ = pid
        return np.frombuffer(self.archive.read(f"{self.folder}data/{key}"), f"<{dtype}")


def _contiguous(
    storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> np.ndarray:
    """A tensor of a storage, row after row."""
    steps = tuple(math.prod(size[i + 1 :]) for i in range(len(size)))
    if math.prod(size) and stride != steps:
        raise ValueError(f"a tensor of strides {stride}, expected {steps}")
    return storage[offset : offset + math.prod(size)].reshape(size)
