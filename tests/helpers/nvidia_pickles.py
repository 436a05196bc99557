"""Pickles in the format of NVIDIA's programs, written without their code.

Their networks pickle as a call of `torch_utils.persistence._reconstruct_persistent_obj` with
the source code and the state of the object, and their dictionaries as `dnnlib.EasyDict`.
TensorFlow's networks are objects of `dnnlib.tflib.network.Network`.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections import OrderedDict
from typing import Any
from unittest import mock

import torch

# A program that must never run.
SOURCE = "raise SystemExit('the source code inside of a pickle was executed')\n"


class EasyDict(dict):
    """A dictionary like `dnnlib.util.EasyDict`."""


class Network:
    """An object like TensorFlow's networks, whose attributes are its state."""

    def __init__(self, **state: Any) -> None:
        self.__dict__ |= state


def _reconstruct_persistent_obj(meta: dict) -> None:
    raise AssertionError("this is named in pickles and never called")


class PersistentObject:
    """An object of one of NVIDIA's persistent classes, with this state."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple:
        meta = {"type": "class", "version": 6, "module_src": SOURCE}
        meta |= {"class_name": self.class_name, "state": self.state}
        return (_reconstruct_persistent_obj, (meta,), None, None, None)


def network(
    class_name: str,
    tensors: dict[str, torch.Tensor],
    buffers: tuple[str, ...] = (),
    attributes: dict[str, dict[str, Any]] | None = None,
    **init_kwargs: Any,
) -> PersistentObject:
    """Return a module and its inner modules from tensors with dotted names.

    buffers: the last parts of the names of those that are no parameters.
    attributes: what else the modules hold, by their dotted names.
    """
    attributes = attributes or {}
    state: dict[str, Any] = {"training": False, "_init_args": (), "_init_kwargs": init_kwargs}
    state |= {"_parameters": OrderedDict(), "_buffers": OrderedDict(), "_modules": OrderedDict()}
    state |= {"_non_persistent_buffers_set": set(), "_forward_hooks": OrderedDict()}
    state |= attributes.get("", {})
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if rest:
            state["_modules"][first] = None
        elif first in buffers:
            state["_buffers"][first] = tensor
        else:
            state["_parameters"][first] = torch.nn.Parameter(tensor, requires_grad=False)
    for first in state["_modules"]:
        inner = {k.removeprefix(f"{first}."): v for k, v in tensors.items() if is_within(k, first)}
        inner_attributes = {
            k[len(first) + 1 :]: v for k, v in attributes.items() if is_within(k, first)
        }
        state["_modules"][first] = network(first.title(), inner, buffers, inner_attributes)
    return PersistentObject(class_name, state)


def is_within(name: str, module: str) -> bool:
    return f"{name}.".startswith(f"{module}.")


def dumps(value: Any, protocol: int = 4) -> bytes:
    """Pickle an object with the names of NVIDIA's classes for the classes above."""
    homes: dict[str, Any] = {
        "dnnlib.util": EasyDict,
        "dnnlib.tflib.network": Network,
        "torch_utils.persistence": _reconstruct_persistent_obj,
    }
    modules: dict[str, Any] = {}
    for home, what in homes.items():
        for package in ("dnnlib", "dnnlib.tflib", "torch_utils", home):
            modules.setdefault(package, types.ModuleType(package))
        setattr(modules[home], what.__name__, what)
    with mock.patch.dict(sys.modules, modules):
        for home, what in homes.items():
            what.__module__ = home
        return pickle.dumps(value, protocol)
