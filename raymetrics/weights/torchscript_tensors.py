"""The tensors of a TorchScript archive, without running its program.

`torch.jit.load` executes what an archive calls `__setstate__` and builds its modules; weights need
neither. Its data.pkl holds every module's attributes, its program says which are parameters.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from raymetrics import safe_pickle

Declared = Callable[[str], dict[str, set[str]]]  # what `declarations` finds in a file
CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  __\w+__ = .*\n)*)", re.M)


def is_archive(path: Path) -> bool:
    """Whether the file is a TorchScript archive; torch.save writes zip files too."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except safe_pickle.DAMAGES:
        return False


def scripted_tensors(path: Path) -> dict[str, Tensor]:
    """The state dict that `torch.jit.load` would give, bfloat16 as float32.

    UnsafePickle, StorageError, or one of `pickles.DAMAGES`.
    """
    with safe_pickle.Archive(str(path)) as archive:
        module = safe_pickle.read_archive(archive, str(path))
        found = arrays(module, declared_in(archive))
    return {name: torch.from_numpy(np.array(array)) for name, array in found.items()}


def arrays(value: object, declared: Declared, prefix: str = "") -> dict[str, np.ndarray]:
    """A module's parameters and buffers, and those of its modules, by dotted names."""
    if not isinstance(value, safe_pickle.Persistent):
        return {}
    tensors = tensors_of_class(value.class_name, declared)
    if tensors is None:
        return {}
    found = {}
    for name, attribute in value.state.items():
        if isinstance(attribute, np.ndarray) and name in tensors:
            found[prefix + name] = attribute
        found |= arrays(attribute, declared, safe_pickle.longer(prefix, name))
    return found


def declared_in(archive: safe_pickle.Archive) -> Declared:
    """Give what finds the declarations of an archive's program, each file once."""
    return cache(lambda file: declarations(archive.text(file)))


def tensors_of_class(name: str, declared: Declared) -> set[str] | None:
    """Look up the parameters and buffers of a class; None if it is no module's."""
    folder, _, last = name.rpartition(".")
    return declared(f"code/{folder.replace('.', '/')}.py").get(last)


def declarations(program: str) -> dict[str, set[str]]:
    """The parameters and buffers that a program declares, by its classes that are modules.

    `__torch__.a.B` is the class B of code/__torch__/a.py, which begins

        class B(Module):
          __parameters__ = ["weight", ]
          __buffers__ = []
    """
    found = {}
    for name, head in CLASS.findall(program):
        lists = re.findall(r"__(?:parameters|buffers)__ = \[(.*)\]", head)
        found[name] = {tensor for inside in lists for tensor in re.findall(r'"([^"]*)"', inside)}
    return found
