"""Limits on the work and the result of a pickle, in proportion to the bytes of its file.

A few bytes can name one value many times inside itself: written out in full it would be longer than
any memory, and a walk over it would never end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from raymetrics.safe_pickle.records import PickledObject

_MAX_RATIO = 16  # copies of the file's bytes, and repetitions of its values in the result
_BASE_ALLOWANCE = 1 << 20  # bytes or entries for every file
_MAX_INSTRUCTIONS = 1 << 21  # some 500 MB of empty sets; networks have less than 1e5
_MAX_DEPTH = 100  # nested containers


class Allowance:
    """The work that a file of this many bytes may still cause."""

    def __init__(self, file_bytes: int) -> None:
        self.file_bytes = file_bytes
        self.remaining = self.total = _MAX_RATIO * file_bytes + _BASE_ALLOWANCE
        self.instructions = _MAX_INSTRUCTIONS

    def spend(self, amount: int) -> None:
        """Subtract bytes or entries. Raise ValueError if the allowance is exceeded."""
        self.remaining -= amount
        if self.remaining < 0:
            raise ValueError(
                f"it makes more than {self.total} bytes or entries out of {self.file_bytes} bytes"
            )

    def spend_instruction(self) -> None:
        """Subtract one instruction. Raise ValueError if none is left."""
        self.instructions -= 1
        if self.instructions < 0:
            raise ValueError(f"it has more than {_MAX_INSTRUCTIONS} instructions")


class CountedInstructions(dict):
    """A table of instructions by code; each lookup spends one instruction.

    Raises ValueError if none is left, and for an unknown code.
    """

    def __init__(self, table: Mapping[int, Any], allowance: Allowance) -> None:
        super().__init__(table)
        self.allowance = allowance

    def __getitem__(self, code: int) -> Any:
        self.allowance.spend_instruction()
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Any:
        raise ValueError(f"it has the byte {code:#04x} in the place of an instruction")


def copy_cost(value: object) -> int:
    """Count the entries that copying a value touches: its length, plus those of a tuple's parts."""
    return _length(value) + (sum(map(_length, value)) if isinstance(value, tuple) else 0)


def require_bounded(value: object, allowance: Allowance) -> None:
    """Raise ValueError for a value that, written out in full, is too deep, too large or endless."""
    size, _ = _extent(value, {}, 0)
    if size > allowance.total:
        raise ValueError(
            f"its values, written out in full, are more than {allowance.total} bytes and values, "
            f"out of {allowance.file_bytes} bytes"
        )


def _extent(value: object, extents: dict[int, tuple[int, int]], depth: int) -> tuple[int, int]:
    """Compute the size and height of a tree of values. Raise ValueError if it is too deep.

    A value inside itself is too deep.
    """
    if id(value) not in extents and depth <= _MAX_DEPTH:
        parts = [_extent(part, extents, depth + 1) for part in _parts(value)]
        size = 1 + _own_size(value) + sum(size for size, _ in parts)
        extents[id(value)] = size, max((1 + height for _, height in parts), default=0)
    size, height = extents.get(id(value), (0, _MAX_DEPTH))
    if depth + height > _MAX_DEPTH:
        raise ValueError(f"its values lie more than {_MAX_DEPTH} deep inside of one another")
    return size, height


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, PickledObject):
        return value.state.values()
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list | tuple | set | frozenset) else ()


def _own_size(value: object) -> int:
    if isinstance(value, int):
        return value.bit_length() // 8
    return value.nbytes if isinstance(value, np.ndarray) else _bytes_in(value)


def _bytes_in(value: object) -> int:
    return len(value) if isinstance(value, str | bytes | bytearray) else 0


def _length(value: object) -> int:
    sized = isinstance(value, list | tuple | dict | set | frozenset)
    return len(value) if sized else _bytes_in(value)  # type: ignore[arg-type]
