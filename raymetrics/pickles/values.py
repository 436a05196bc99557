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
# The types of torch's storages, and numpy's for their numbers.
STORAGES = {
    "torch.HalfStorage": "f2", "torch.BFloat16Storage": "u2", "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8", "torch.ComplexFloatStorage": "c8",
    "torch.ComplexDoubleStorage": "c16", "torch.BoolStorage": "?", "torch.ByteStorage": "u1",
    "torch.CharStorage": "i1", "torch.ShortStorage": "i2", "torch.IntStorage": "i4",
    "torch.LongStorage": "i8",
}  # fmt: skip
TORCH_DTYPE = re.compile(r"torch\.(bool|b?float\d+|u?int\d+|complex\d+)")


@dataclass(frozen=True, eq=False)
class Persistent:
    """An object of a class that is not loaded: its name, and what the object held.

    Of NVIDIA's persistent classes, of torch.nn's modules (with a dotted name), of TorchScript's
    (`__torch__.` first), and of TensorFlow's `dnnlib.tflib.network.Network`. NVIDIA's state
    has the arguments of the constructor under `_init_args` and `_init_kwargs`.
    """

    class_name: str
    state: dict[str, Any] = field(default_factory=dict, repr=False)


class Refused(Exception):
    """The name of what a pickle asks for and does not get."""


def is_record(name: str) -> bool:
    """Whether objects of this class are read as `Persistent`, without the class."""
    pattern = r"torch\.nn\.modules\.\w+\.\w+|__torch__(\.\w+)+"
    return name == NETWORK or re.fullmatch(pattern, name) is not None


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
) -> torch.Tensor | np.ndarray:
    """A view of a storage, an array of an array; torch would enlarge one that is too small."""
    if isinstance(storage, np.ndarray):
        there = len(storage)
    else:
        there = storage._untyped_storage.nbytes() // storage.dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min(offset, *size, *stride, 0) < 0 or (0 not in size and last >= there):
        raise ValueError(f"a tensor {list(size)} outside of its {there} numbers")
    if isinstance(storage, np.ndarray):
        if math.prod(size) > there:  # what is repeated would be room for any number
            raise ValueError(f"a tensor {list(size)} of {there} numbers")
        steps = [step * storage.itemsize for step in stride]
        return np.lib.stride_tricks.as_strided(storage[offset:], size, steps)
    import torch

    return torch._utils._rebuild_tensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: Any, requires_grad: bool, *_: Any) -> torch.Tensor | np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    import torch

    return torch.nn.Parameter(data, bool(requires_grad))


def _typed(value: Any, kind: str = "") -> Any:
    """TorchScript's lists and dictionaries, which are written with the types of their contents."""
    return value


def _torch_value(name: str) -> Callable[[Any], Any]:
    def make(content: Any) -> Any:
        import torch

        return getattr(torch, name)(content)

    return make


TYPED = (
    "build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag",
)  # fmt: skip
# Names that stand for themselves, as arguments of what is made.
NAMES = frozenset({"builtins.object", "numpy.ndarray", *STORAGES})
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
    **{f"torch.jit._pickle.{name}": _typed for name in TYPED},
    "torch.storage._load_from_bytes": _load_storage,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
}
