"""Make numpy's arrays, and torch's tensors as arrays, from the bytes of a pickle.

Every number from the pickle becomes a Python int, which unlike numpy's does not wrap around, before
it is compared. All arrays of numbers are read-only.
"""

from __future__ import annotations

import math
import operator
import re
from typing import Any

import numpy as np

from raymetrics.safe_pickle.records import ForbiddenName, describe_value

_SIMPLE_DTYPE = re.compile(r"[<>=|]?[?biufcSU][0-9]{0,9}")
# The types of torch's storages, and numpy's for their numbers.
STORAGE_DTYPES = {
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": "u2",
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.ComplexFloatStorage": "c8",
    "torch.ComplexDoubleStorage": "c16",
    "torch.BoolStorage": "?",
    "torch.ByteStorage": "u1",
    "torch.CharStorage": "i1",
    "torch.ShortStorage": "i2",
    "torch.IntStorage": "i4",
    "torch.LongStorage": "i8",
}
# The types of numpy that torch has too.
TORCH_NUMBERS = frozenset(np.dtype(f"<{kind}").str for kind in STORAGE_DTYPES.values())
_MAX_AXES = 64  # numpy's limit
_MAX_SIZE = 1 << 62  # beyond any memory
_MAX_CHARACTER = 0x10FFFF


def require_size(value: Any) -> int:
    """Return a count, size, step or offset as Python's int.

    Raise ValueError for a number below 0 or beyond any memory.
    """
    number = operator.index(value)
    if not 0 <= number < _MAX_SIZE:
        raise ValueError("a number below 0, or beyond any memory, where a size is expected")
    return number


def require_sizes(values: Any) -> tuple[int, ...]:
    """Return the sizes or steps along the axes of an array. Raise ValueError for anything else."""
    if not isinstance(values, tuple | list) or len(values) > _MAX_AXES:
        raise ValueError(f"expected at most {_MAX_AXES} sizes, found {describe_value(values)}")
    return tuple(map(require_size, values))


def require_bytes(raw: Any) -> bytes:
    """Return bytes, which some protocols write as text. Raise TypeError for anything else."""
    if isinstance(raw, str):
        return raw.encode("latin1")
    if not isinstance(raw, bytes | bytearray):
        raise TypeError(f"expected bytes, found {describe_value(raw)}")
    return bytes(raw)


def make_dtype(text: Any, align: Any = False, copy: Any = True) -> np.dtype:
    """Make a new numpy type of numbers or texts, which `set_byte_order` may change."""
    if not isinstance(text, str) or not _SIMPLE_DTYPE.fullmatch(text):
        raise ForbiddenName(f"numpy.dtype({describe_value(text)})")
    return np.dtype(text, False, True)


def set_byte_order(dtype: np.dtype, state: Any) -> None:
    """Set the byte order from a pickled state; the rest of the type stays unchanged."""
    _, order, *fields, size, _, _ = state
    if order not in ("<", ">", "=", "|") or any(part is not None for part in fields):
        raise ForbiddenName("a numpy.dtype with fields")
    if operator.index(size) not in (-1, dtype.itemsize):
        raise ValueError(f"{dtype} of another size")
    order = dtype.newbyteorder(order).byteorder
    # Two references to a pickled dtype share one object, so the object is changed in place.
    dtype.__setstate__(  # type: ignore[attr-defined]
        (3, order, None, None, None, dtype.itemsize, dtype.alignment, dtype.flags)
    )


def empty_array(kind: Any, shape: Any, typecode: Any) -> np.ndarray:
    """Make an array that `fill_array` fills once."""
    if getattr(kind, "name", None) != "numpy.ndarray":
        raise ForbiddenName(describe_value(getattr(kind, "name", kind)))
    return np.empty(0, np.int8)


def fill_array(array: np.ndarray, state: Any) -> None:
    """Fill an empty array with the state that numpy writes in protocols 0 to 4."""
    _, shape, dtype, fortran, raw = state
    if not array.flags.writeable:  # views of its memory may exist
        raise ValueError("an array that is filled twice")
    content, sizes = require_bytes(raw), require_sizes(shape)
    _require_fit(_numbers_from_bytes(content, dtype), sizes)
    filled: Any = (1, sizes, dtype, bool(operator.index(fortran)), content)
    array.__setstate__(filled)
    array.flags.writeable = False


def array_from_buffer(
    buffer: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
) -> np.ndarray:
    """Make an array from the arguments that numpy writes in protocol 5."""
    flat, sizes = _numbers_from_bytes(require_bytes(buffer), dtype), require_sizes(shape)
    _require_fit(flat, sizes)
    if order not in ("C", "F", "K"):
        raise ValueError(f"an order of memory {describe_value(order)}")
    if order == "K" and axes is not None:
        return flat.reshape(sizes).transpose(require_sizes(axes))
    return flat.reshape(sizes, order=order)


def make_scalar(dtype: Any, raw: Any) -> Any:
    """Make a single number or text of numpy's."""
    (value,) = _numbers_from_bytes(require_bytes(raw), dtype)
    return value


def _numbers_from_bytes(content: bytes, dtype: Any) -> np.ndarray:
    """Interpret bytes as numbers [n], read-only.

    Raise ValueError for bytes that numpy would accept as truth values or characters without a
    check.
    """
    if not isinstance(dtype, np.dtype) or not dtype.itemsize:
        raise ValueError(f"expected a type of numbers, found {describe_value(dtype)}")
    flat = np.frombuffer(content, dtype) if content else np.empty(0, dtype)
    if dtype.kind == "b" and flat.view("u1").max(initial=0) > 1:
        raise ValueError("truth values other than 0 and 1")
    codes = flat.view(np.dtype("u4").newbyteorder(dtype.byteorder)) if dtype.kind == "U" else flat
    if dtype.kind == "U" and codes.max(initial=0) > _MAX_CHARACTER:
        raise ValueError("a text with numbers that are no characters")
    flat.flags.writeable = False
    return flat


def storage_numbers(kind: str, content: bytes, count: Any) -> np.ndarray:
    """Return the numbers [count] of a storage of a type in STORAGE_DTYPES; bfloat16 as float32."""
    dtype = np.dtype(f"<{STORAGE_DTYPES[kind]}")
    if len(content) != require_size(count) * dtype.itemsize:
        raise ValueError(
            f"{len(content)} bytes in a storage, expected {require_size(count)} numbers {dtype}"
        )
    flat = _numbers_from_bytes(content, dtype)
    if kind == "torch.BFloat16Storage":  # the upper half of a float32
        flat = (flat.astype("<u4") << 16).view("<f4")
        flat.flags.writeable = False
    return flat


def tensor_view(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """Make a tensor: a strided view of a storage. Raise ValueError if it leaves the storage."""
    if not isinstance(storage, np.ndarray) or storage.ndim != 1:
        raise ValueError(f"a tensor of {describe_value(storage)}, expected a storage")
    count, start, sizes, steps = (
        len(storage),
        require_size(offset),
        require_sizes(size),
        require_sizes(stride),
    )
    last = start + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    if start > count or (0 not in sizes and last >= count):
        raise ValueError(f"a tensor {list(sizes)} outside of its {count} numbers")
    if math.prod(sizes) > count:  # steps of 0 could repeat values without limit
        raise ValueError(f"a tensor {list(sizes)} of {count} numbers")
    width = storage.itemsize
    # numpy checks the bounds once more.
    return np.ndarray(
        sizes, storage.dtype, storage, start * width, [step * width for step in steps]
    )


def _require_fit(flat: np.ndarray, shape: tuple[int, ...]) -> None:
    if len(flat) != math.prod(shape):
        raise ValueError(f"{len(flat)} numbers {flat.dtype} for {list(shape)}")
