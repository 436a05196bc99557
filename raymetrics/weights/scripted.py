"""The tensors of a TorchScript archive, without running its program.

`torch.jit.load` executes what an archive calls `__setstate__` and builds its modules; weights need
neither. Its data.pkl holds every module's attributes, its program says which are parameters.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raymetrics import pickles

DEEPEST = 100  # modules inside of one another


def is_archive(path: Path) -> bool:
    """Whether the file is a TorchScript archive; torch.save writes zip files too."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def scripted_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict that `torch.jit.load` would give, bfloat16 as float32.

    UnsafePickle, StorageError, or one of `pickles.DAMAGES`.
    """
    with pickles.Archive(str(path)) as archive:
        found = arrays(pickles.read_archive(archive, str(path)), archive)
    return {name: torch.from_numpy(np.array(array)) for name, array in found.items()}


def arrays(value: object, archive: pickles.Archive, prefix: str = "") -> dict[str, np.ndarray]:
    """A module's parameters and buffers, and those of its modules, by dotted names."""
    if prefix.count(".") > DEEPEST:
        raise ValueError(f"more than {DEEPEST} modules inside of one another")
    if not isinstance(value, pickles.Persistent):
        return {}
    declared = tensors_of_class(value.class_name, archive)
    if declared is None:
        return {}
    found = {}
    for name, attribute in value.state.items():
        if isinstance(attribute, np.ndarray) and name in declared:
            found[prefix + name] = attribute
        found |= arrays(attribute, archive, f"{prefix}{name}.")
    return found


def tensors_of_class(name: str, archive: pickles.Archive) -> set[str] | None:
    """The parameters and buffers that the program declares of a class, None if it is no module's.

    `__torch__.a.B` is the class B of code/__torch__/a.py, which begins

        class B(Module):
          __parameters__ = ["weight", ]
          __buffers__ = []
    """
    file, _, last = name.rpartition(".")
    code = archive.text(f"code/{file.replace('.', '/')}.py")
    start = re.search(rf"^class {re.escape(last)}\(Module\):\n((?:  __\w+__ = .*\n)*)", code, re.M)
    if start is None:
        return None
    lists = re.findall(r"__(?:parameters|buffers)__ = \[(.*)\]", start[1])
    return {found for inside in lists for found in re.findall(r'"([^"]*)"', inside)}
