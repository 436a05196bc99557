"""Pickles of arrays, tensors and networks, read without executing any of them.

A pickle is a program: it names functions, and unpickling calls them. Here every name stands
for something of this file that makes a plain value, and a name that is not known is refused.
So NVIDIA's networks can be read, whose pickles hold source code that pickle would run.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from raymetrics.errors import StorageError, UnsafePickle

if TYPE_CHECKING:
    import torch

NETWORK = "dnnlib.tflib.network.Network"
# What other versions of Python, numpy and NVIDIA's programs call the same things.
RENAMED = {
    "__builtin__.": "builtins.",
    "copy_reg.": "copyreg.",
    "numpy._core.": "numpy.core.",
    "dnnlib.util.": "dnnlib.",
}
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


def read(data: bytes, where: str) -> Any:
    """The value that was pickled; `where` names its place in errors.

    Containers, numbers, text, numpy's arrays of numbers, torch's tensors; modules and
    NVIDIA's networks as `Persistent`, EasyDict as dict. UnsafePickle for a pickle that names
    anything else, StorageError for one that is cut off or damaged.
    """
    if data.startswith(b"PK"):
        raise StorageError(
            f"{where} is a zip archive, as torch.save and numpy.savez write; expected a pickle"
        )
    source = io.BytesIO(data)
    try:
        return _Reader(source, encoding="latin1").load()
    except Exception as error:
        cut = source.tell() == len(data) and not data.endswith(pickle.STOP)
        if isinstance(error, _Refused) and not cut:
            raise UnsafePickle(
                f"the pickle {where} names {error}, and raymetrics executes no pickles; nothing of "
                "it was executed. Expected numbers, arrays, tensors and NVIDIA's networks: open it "
                "with the program that wrote it and save its arrays as .npz, its tensors as "
                ".safetensors"
            ) from None
        raise StorageError(
            f"{where} is {'cut off' if cut else 'damaged, or no pickle'}: "
            f"{type(error).__name__}: {error} ({len(data)} bytes); get the file again"
        ) from error


def tensors(module: Persistent, prefix: str = "") -> dict[str, torch.Tensor]:
    """A module's parameters and buffers, and those of its modules, by dotted names."""
    found = {}
    for kind in ("_parameters", "_buffers"):
        for name, tensor in module.state.get(kind, {}).items():
            if tensor is not None:
                found[prefix + name] = tensor.detach()
    for name, inner in module.state.get("_modules", {}).items():
        if inner is not None:
            found |= tensors(inner, f"{prefix}{name}.")
    return found


class _Refused(Exception):
    """The name of what a pickle asks for and does not get."""


@dataclass(frozen=True, slots=True)
class _Global:
    """A name in a pickle. It can be called by the reader alone, and nothing can be set on it."""

    name: str

    def __call__(self, *args: Any) -> Any:
        if _is_record(self.name):
            return Persistent(self.name)
        if self.name not in MAKERS:
            raise _Refused(self.name)
        return MAKERS[self.name](*args)


class _Reader(pickle._Unpickler):
    """Python's own unpickler, whose every instruction that could call something is replaced."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        for old, new in RENAMED.items():
            if full.startswith(old):
                full = new + full.removeprefix(old)
        if TORCH_DTYPE.fullmatch(full):
            import torch

            return getattr(torch, name)
        if full not in MAKERS and full not in NAMES and not _is_record(full):
            raise _Refused(f"{module}.{name}")
        return _Global(full)

    def get_extension(self, code: int) -> None:
        raise _Refused(f"the extension {code}")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"an object outside of itself, {str(pid)[:100]!r}")

    def _instantiate(self, made: Any, args: Any) -> None:
        """For the instructions INST and OBJ."""
        self.append(_call(made, args))  # type: ignore[attr-defined]

    def load_reduce(self) -> None:
        args, made = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        self.append(_call(made, args))  # type: ignore[attr-defined]

    def load_newobj_ex(self) -> None:
        raise _Refused("a constructor with keywords")

    def load_build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        _set_state(self.stack[-1], state)  # type: ignore[attr-defined]

    def load_bytearray8(self) -> None:
        """Without room for what is announced and not there."""
        length = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch[pickle.REDUCE[0]] = load_reduce  # type: ignore[assignment]
    dispatch[pickle.NEWOBJ[0]] = load_reduce  # type: ignore[assignment]
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex  # type: ignore[assignment]
    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8  # type: ignore[assignment]


def _call(made: Any, args: Any) -> Any:
    if not isinstance(made, _Global):
        raise _Refused(f"a call of {type(made).__name__}")
    return made(*args)


def _is_record(name: str) -> bool:
    return name == NETWORK or re.fullmatch(r"torch\.nn\.modules\.\w+\.\w+", name) is not None


def _set_state(made: Any, state: Any) -> None:
    """What BUILD does, for the few kinds of values that have a state."""
    if isinstance(made, Persistent) and isinstance(state, Mapping):
        made.state.update(state)
    elif isinstance(made, np.dtype):
        _set_byte_order(made, state)
    elif type(made) is np.ndarray:
        _set_array(made, *state)
    elif not isinstance(made, dict):  # Of a dictionary these are attributes that nobody needs.
        raise _Refused(f"a state for {type(made).__name__}")


def _reconstruct(kind: _Global, base: _Global, state: Any) -> Any:
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
        raise _Refused(f"the encoding {encoding!r}")
    return text.encode("latin1")


def _bytearray(content: bytes | str = b"", encoding: str = "latin1") -> bytearray:
    if isinstance(content, str):
        content = _encode(content, encoding)
    return bytearray(memoryview(content))


def _dtype(text: str, align: bool = False, copy: bool = True) -> np.dtype:
    if not SIMPLE_DTYPE.fullmatch(text):
        raise _Refused(f"numpy.dtype({text!r})")
    return np.dtype(text, False, True)


def _set_byte_order(dtype: np.dtype, state: tuple[Any, ...]) -> None:
    _, order, *fields, _, _, _ = state
    if order not in ("<", ">", "=", "|") or fields != [None, None, None]:
        raise _Refused("a numpy.dtype with fields")
    if state[5] not in (-1, dtype.itemsize):
        raise ValueError(f"{dtype} of {state[5]} bytes")
    dtype.__setstate__(state)  # type: ignore[attr-defined]


def _empty_array(kind: _Global, shape: tuple[int, ...], typecode: Any) -> np.ndarray:
    """What `_set_array` fills."""
    if kind.name != "numpy.ndarray":
        raise _Refused(kind.name)
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
            raise _Refused(f"{named[1]}, inside of a tensor's storage") from None
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
