"""The names allowed in a pickle: functions that check their arguments and make plain values."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from raymetrics.safe_pickle import array_values
from raymetrics.safe_pickle.array_values import (
    STORAGE_DTYPES,
    require_bytes,
    require_size,
    require_sizes,
)
from raymetrics.safe_pickle.records import ForbiddenName, PickledObject, describe_value

TORCH_DTYPE = re.compile(r"torch\.(bool|b?float\d+|u?int\d+|complex\d+)", re.ASCII)


def require_keys(keys: Iterable[Any]) -> None:
    """Raise ValueError unless all keys are texts or single numbers.

    A pickle can make tuples that take forever to hash, and numbers that share a hash.
    """
    for key in keys:
        if isinstance(key, int | np.integer) and int(key).bit_length() > 64:
            raise ValueError("a key that is a number of more than 64 bits")
        if not isinstance(key, str | bytes | int | float | np.integer | None):
            raise ValueError(f"a key that is a {describe_value(key)}, expected a text or a number")


def set_state(target: Any, state: Any) -> None:
    """Execute the instruction BUILD for the few kinds of values that have a state."""
    if isinstance(target, PickledObject) and isinstance(state, dict):
        target.state.update(state)
    elif isinstance(target, np.dtype):
        array_values.set_byte_order(target, state)
    elif type(target) is np.ndarray:
        array_values.fill_array(target, state)
    elif not isinstance(target, dict):  # a dictionary's attributes are not needed
        raise ForbiddenName(f"a state for {type(target).__name__}")


def _reconstruct(kind: Any, base: Any, state: Any) -> Any:
    """Make an object as copyreg does in protocols 0 and 1."""
    value = kind()
    if state:
        value.update(_require_dictionary(state))
    return value


def _pickled_object(meta: Any) -> PickledObject:
    name, state = _require_dictionary(meta)["class_name"], _require_dictionary(meta["state"])
    if not isinstance(name, str):
        raise ValueError(f"a class whose name is a {describe_value(name)}")
    return PickledObject(name, state)


def _require_dictionary(value: Any) -> dict:
    if not isinstance(value, dict):
        raise ValueError(f"expected a dictionary, found {describe_value(value)}")
    return value


def _encode(text: Any, encoding: Any) -> bytes:
    """Return bytes, which protocols 0 to 2 write as text."""
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenName(f"the encoding {describe_value(encoding)}")
    return require_bytes(text)


def _bytearray(content: Any = b"", encoding: Any = "latin1") -> bytearray:
    return bytearray(_encode(content, encoding))


def _complex(real: Any, imaginary: Any) -> complex:
    if not isinstance(real, float) or not isinstance(imaginary, float):
        raise ValueError(
            f"a complex number of {describe_value(real)} and {describe_value(imaginary)}"
        )
    return complex(real, imaginary)


def _list(items: Any = ()) -> list:
    if not isinstance(items, list | tuple):
        raise ValueError(f"a list of {describe_value(items)}")
    return list(items)


def _maker_of_sets(kind: Callable[..., Any]) -> Callable[..., Any]:
    def make(items: Any = ()) -> Any:
        require_keys(_list(items))
        return kind(items)

    return make


def _maker_of_dictionaries(kind: Callable[..., Any]) -> Callable[..., Any]:
    def make(items: Any = ()) -> Any:
        pairs = [(key, value) for key, value in _list(items)]
        require_keys(key for key, _ in pairs)
        return kind(pairs)

    return make


def _drop_type(value: Any, kind: Any = "") -> Any:
    """Return a list or dictionary of TorchScript without the type of its contents."""
    return value


def _first_argument(value: Any, *_: Any) -> Any:
    """Return the first argument: a parameter is its tensor."""
    return value


def _device(kind: Any, index: Any = None) -> Any:
    import torch

    if not isinstance(kind, str):
        raise ValueError(f"a device {describe_value(kind)}")
    return torch.device(kind) if index is None else torch.device(kind, require_size(index))


_TYPED = (
    "build_intlist",
    "build_doublelist",
    "build_boollist",
    "build_tensorlist",
    "restore_type_tag",
)
STORAGE_FILE = "torch.storage._load_from_bytes"  # `RestrictedUnpickler` itself opens it
# Names without a function, most of them arguments of functions.
INERT_NAMES = frozenset({"builtins.object", "numpy.ndarray", STORAGE_FILE, *STORAGE_DTYPES})
# `bytes` and `bytearray` of a number would allocate that many bytes.
MAKERS: dict[str, Callable[..., Any]] = {
    "builtins.dict": _maker_of_dictionaries(dict),
    "builtins.list": _list,
    "builtins.set": _maker_of_sets(set),
    "builtins.frozenset": _maker_of_sets(frozenset),
    "builtins.complex": _complex,
    "builtins.bytes": lambda: b"",
    "builtins.bytearray": _bytearray,
    "collections.OrderedDict": _maker_of_dictionaries(OrderedDict),
    "dnnlib.EasyDict": _maker_of_dictionaries(dict),
    "copyreg._reconstructor": _reconstruct,
    "_codecs.encode": _encode,
    "numpy.dtype": array_values.make_dtype,
    "numpy.core.multiarray._reconstruct": array_values.empty_array,
    "numpy.core.multiarray.scalar": array_values.make_scalar,
    "numpy.core.numeric._frombuffer": array_values.array_from_buffer,
    "torch.Size": require_sizes,
    "torch.device": _device,
    **{f"torch.jit._pickle.{name}": _drop_type for name in _TYPED},
    "torch._utils._rebuild_tensor": array_values.tensor_view,
    "torch._utils._rebuild_tensor_v2": array_values.tensor_view,
    "torch._utils._rebuild_parameter": _first_argument,
    "torch._utils._rebuild_parameter_with_state": _first_argument,
    "torch_utils.persistence._reconstruct_persistent_obj": _pickled_object,
}
