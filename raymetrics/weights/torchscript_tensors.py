"""Read the tensors of a TorchScript archive, without running its program.

`torch.jit.load` executes an archive's `__setstate__` and builds its modules; weights need neither.
The archive's data.pkl holds the attributes of every module, and its program declares which of them
are parameters.
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

DeclarationLookup = Callable[[str], dict[str, set[str]]]  # a file -> its class -> tensor names
_MODULE_CLASS = re.compile(r"^class (\w+)\(Module\):\n((?:  __\w+__ = .*\n)*)", re.M)


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive; torch.save writes zip files too."""
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except safe_pickle.DAMAGE_ERRORS:
        return False


def read_torchscript_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict that `torch.jit.load` would give, bfloat16 as float32.

    Raise UnsafePickle, StorageError, or one of `safe_pickle.DAMAGE_ERRORS`.
    """
    with safe_pickle.TorchArchive(str(path)) as archive:
        module = safe_pickle.read_archive(archive, str(path))
        named_arrays = _module_arrays(module, declaration_lookup(archive))
    return {name: torch.from_numpy(np.array(array)) for name, array in named_arrays.items()}


def _module_arrays(
    value: object, declared: DeclarationLookup, prefix: str = ""
) -> dict[str, np.ndarray]:
    """Collect the parameters and buffers of a module and its submodules, by dotted names."""
    if not isinstance(value, safe_pickle.PickledObject):
        return {}
    tensors = tensor_names_of_class(value.class_name, declared)
    if tensors is None:
        return {}
    collected = {}
    for name, attribute in value.state.items():
        if isinstance(attribute, np.ndarray) and name in tensors:
            collected[prefix + name] = attribute
        collected |= _module_arrays(attribute, declared, safe_pickle.extend_prefix(prefix, name))
    return collected


def declaration_lookup(archive: safe_pickle.TorchArchive) -> DeclarationLookup:
    """Return a function that parses the declarations of a program's file, once for each file."""
    return cache(lambda file: _parse_declarations(archive.text(file)))


def tensor_names_of_class(name: str, declared: DeclarationLookup) -> set[str] | None:
    """Look up the parameters and buffers of a class; None if the class is not a module."""
    folder, _, last = name.rpartition(".")
    return declared(f"code/{folder.replace('.', '/')}.py").get(last)


def _parse_declarations(program: str) -> dict[str, set[str]]:
    """Parse the parameters and buffers that a program declares, by the classes of its modules.

    `__torch__.a.B` is the class B of code/__torch__/a.py, which begins

        class B(Module):
          __parameters__ = ["weight", ]
          __buffers__ = []
    """
    by_class = {}
    for name, head in _MODULE_CLASS.findall(program):
        lists = re.findall(r"__(?:parameters|buffers)__ = \[(.*)\]", head)
        by_class[name] = {tensor for listed in lists for tensor in re.findall(r'"([^"]*)"', listed)}
    return by_class
