"""What the names in pickles stand for: makers of plain values, which check what they are given."""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

NETWORK = "dnnlib.tflib.network.Network"
SIMPLE_DTYPE = re.compile(r"[<>=|]?[?biufcSU]\d*")
TORCH_DTYPE = re.compile(r"torch\.(bool|b?float\d+|u?int\d+|complex\d+)")


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object of a class that is not loaded: its name, and what the object held.

    Of NVIDIA's persistent classes, of torch.nn's modules (with a dotted name), and of
    TensorFlow's `dnnlib.tflib.network.Network`. NVIDIA's state has the arguments of the
    constructor under `_init_args` and `_init_kwargs`.
    """

    class_name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class Refused(Exception):
    """The name of what a pickle asks for and does not get."""


def is_record(name: str) -> bool:
    """Whether objects of this class are read as `Persistent`, without the class."""
    return name == NETWORK or re.fullmatch(r"torch\.nn\.modules\.\w+\.\w+", name) is not None


def set_state(made: Any, state: Any) -> None:
    """What BUILD does, for the few kinds of values that have a state."""
    if isinstance(made, Persistent) and isinstance(state, Mapping):
        made.state.update(state)
    elif isinstance(made, np.dtype):
        _set_byte_order(made, state)
    elif type(made) is np.ndarray:
        _set_array(made, *state)
    elif not isinstance(made, dict):  # Of a dictionary these are attributes that nobody needs.
        raise Refused(f"a state for {type(made).__name__}")


def _reconstruct(kind: Any, base: Any, state: Any) -> Any:
    """copyreg's way to make objects in protocols 0 and 1."""
    made = kind()
    if state:
        made.update(state)
    return made


def _persistent(meta: Mapping[str, Any]) -> Persistent:
    return Persistent(meta["class_name"], dict(meta["state"]))


def _encode(text: str, encoding: str) -> bytes:
    """How protocols 0 to 2 write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise Refused(f"the encoding {encoding!r}")
    return text.encode("latin1")


def _bytearray(content: bytes | str = b"", encoding: str = "latin1") -> bytearray:
    if isinstance(content, str):
        content = _encode(content, encoding)
    return bytearray(memoryview(content))


def _dtype(text: str, align: bool = False, copy: bool = True) -> np.dtype:
    if not SIMPLE_DTYPE.fullmatch(text):
        raise Refused(f"numpy.dtype({text!r})")
    return np.dtype(text, False, True)


def _set_byte_order(dtype: np.dtype, state: tuple[Any, ...]) -> None:
    _, order, *fields, _, _, _ = state
    if order not in ("<", ">", "=", "|") or fields != [None, None, None]:
        raise Refused("a numpy.dtype with fields")
    if state[5] not in (-1, dtype.itemsize):
        raise ValueError(f"{dtype} of {state[5]} bytes")
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def _empty_array(kind: Any, shape: tuple[int, ...], typecode: Any) -> np.ndarray:
    """What `_set_array` fills."""
    if kind.name != "numpy.ndarray":
        raise Refused(kind.name)
    return np.empty(0, np.int8)


def _set_array(
    array: np.ndarray, version: int, shape: tuple[int, ...], dtype: Any, fortran: Any, raw: Any
) -> None:
    content = raw.encode("latin1") if isinstance(raw, str) else bytes(memoryview(raw))
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for {dtype} {list(shape)}")
    array.__setstate__((version, shape, dtype, fortran, content))


def _from_buffer(
    buffer: Any, dtype: np.dtype, shape: tuple[int, ...], order: str, axes: Any = None
) -> np.ndarray:
    """numpy's arrays in protocol 5."""
    flat = np.frombuffer(bytearray(memoryview(buffer)), dtype)
    if order == "K" and axes is not None:
        return flat.reshape(shape, order="C").transpose(axes)
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(dtype: np.dtype, raw: bytes | str) -> Any:
    content = raw.encode("latin1") if isinstance(raw, str) else raw
    (value,) = np.frombuffer(content, dtype)
    return value


def _load_storage(content: bytes) -> Any:
    """A tensor's numbers, a torch file inside the pickle; only torch's safe reader opens it."""
    import torch

    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise Refused(f"{named[1]}, inside of a tensor's storage") from None
        raise ValueError("a tensor's storage cannot be read") from None


def _rebuild_tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    """A view of a storage; torch alone would enlarge a storage that is too small."""
    import torch

    there = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride, 0) < 0 or (0 not in size and last >= there):
        raise ValueError(f"a tensor {list(size)} outside of its {there} numbers")
    return torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: torch.Tensor, requires_grad: bool, *_: Any) -> torch.Tensor:
    import torch

    return torch.nn.Parameter(data, bool(requires_grad))


def _torch_value(name: str) -> Callable[[Any], Any]:
    def make(content: Any) -> Any:
        import torch

        return getattr(torch, name)(content)

    return make


# Names that stand for themselves, as arguments of what is made.
NAMES = frozenset({"builtins.object", "numpy.ndarray"})
# `bytes` and `bytearray` of a number would be room for that many.
MAKERS: dict[str, Callable[..., Any]] = {
    "builtins.dict": dict,
    "builtins.list": list,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.bytes": lambda: b"",
    "builtins.bytearray": _bytearray,
    "collections.OrderedDict": OrderedDict,
    "dnnlib.EasyDict": dict,
    "copyreg._reconstructor": _reconstruct,
    "_codecs.encode": _encode,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "torch.Size": _torch_value("Size"),
    "torch.device": _torch_value("device"),
    "torch.storage._load_from_bytes": _load_storage,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
}
