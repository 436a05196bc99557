"""A pickle machine whose instructions never call what the pickle names.

Why not torch.load: with weights_only=True it refuses NVIDIA's networks, whose state is needed here,
it takes torch to read an array, and a file of a hundred bytes can make it fill the memory; here
work and result are bounded by the size of the file.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from raymetrics.printable import escape_unprintable
from raymetrics.safe_pickle.allowed_types import (
    INERT_NAMES,
    MAKERS,
    STORAGE_FILE,
    TORCH_DTYPE,
    require_keys,
    set_state,
)
from raymetrics.safe_pickle.array_values import STORAGE_DTYPES, require_bytes
from raymetrics.safe_pickle.records import ForbiddenName, PickledObject, describe_value, is_record
from raymetrics.safe_pickle.size_limits import (
    Allowance,
    CountedInstructions,
    copy_cost,
    require_bounded,
)
from raymetrics.safe_pickle.torch_legacy import LegacyStorages

# Names in other versions of Python, numpy, torch and NVIDIA's programs.
_RENAMED = {
    "__builtin__.": "builtins.",
    "copy_reg.": "copyreg.",
    "numpy._core.": "numpy.core.",
    "torch.cuda.": "torch.",
    "dnnlib.util.": "dnnlib.",
}
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C  # the first number in torch.save's files before its zip files
_LONGEST_NAME = 500


@dataclass(frozen=True, slots=True)
class Global:
    """A name in a pickle. Only the unpickler can call it, and it has no attributes to set."""

    name: str

    def __call__(self, *args: Any) -> Any:
        if is_record(self.name):
            return PickledObject(self.name)
        if self.name not in MAKERS:
            raise ForbiddenName(self.name)
        return MAKERS[self.name](*args)


class RestrictedUnpickler(pickle._Unpickler):
    """Python's own unpickler, with every instruction replaced that could call something.

    Instructions that change a value are replaced too: they change only lists, sets and
    dictionaries.
    """

    def __init__(
        self,
        file: IO[bytes],
        allowance: Allowance,
        storage: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file, encoding="latin1")
        self.allowance = allowance
        self.storage = storage
        # Instructions are looked up by name, so that methods here override Python's.
        self.dispatch = CountedInstructions(  # type: ignore[misc]
            {code: getattr(type(self), load.__name__) for code, load in self.dispatch.items()},
            allowance,
        )

    def load(self) -> Any:
        value = super().load()
        require_bounded(value, self.allowance)
        return value

    def find_class(self, module: str, name: str) -> Any:
        full = _full_name(module, name)
        if TORCH_DTYPE.fullmatch(full):
            import torch

            return getattr(torch, name)
        if full not in MAKERS and full not in INERT_NAMES and not is_record(full):
            raise ForbiddenName(_printable_name(module, name))
        return Global(full)

    def get_extension(self, code: int) -> None:
        raise ForbiddenName(f"the extension {code}")

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is not None:
            return self.storage(pid)
        raise ForbiddenName(f"an object outside of itself, {describe_value(pid)}")

    def _instantiate(self, callee: Any, args: Any) -> None:
        """Execute the instructions INST and OBJ."""
        self._call(callee, tuple(args))

    def _call(self, callee: Any, args: Any) -> None:
        if not isinstance(callee, Global):
            raise ForbiddenName(f"a call of {type(callee).__name__}")
        if not isinstance(args, tuple):
            raise ValueError(f"arguments that are a {describe_value(args)}")
        self.allowance.spend(copy_cost(args))
        make = self._load_storage if callee.name == STORAGE_FILE else callee
        self.append(make(*args))  # type: ignore[attr-defined]

    def _load_storage(self, content: Any) -> Any:
        """Read a tensor's numbers from the file of torch.save that the pickle contains."""
        return read_legacy_file(
            io.BytesIO(require_bytes(content)), self.allowance, _StorageUnpickler
        )

    def load_reduce(self) -> None:
        args, callee = self._pop(), self._pop()
        self._call(callee, args)

    load_newobj = load_reduce

    def load_newobj_ex(self) -> None:
        raise ForbiddenName("a constructor with keywords")

    def load_next_buffer(self) -> None:
        raise ForbiddenName("a buffer outside of itself")

    load_readonly_buffer = load_next_buffer

    def load_build(self) -> None:
        state = self._pop()
        self.allowance.spend(copy_cost(state))
        set_state(self.stack[-1], state)  # type: ignore[attr-defined]

    def load_bytearray8(self) -> None:
        """Read a bytearray without allocating bytes that are announced but missing."""
        length = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    def load_put(self) -> None:
        """Store a value in the memo.

        Raise ValueError for an index beyond 32 bits: larger numbers may all have the same hash.
        """
        place = int(self.readline()[:-1])  # type: ignore[attr-defined]
        if not 0 <= place < 1 << 32:
            raise ValueError("a place in the memo beyond 32 bits")
        self.memo[place] = self.stack[-1]  # type: ignore[attr-defined]

    def load_append(self) -> None:
        value = self._pop()
        self._top(list).append(value)

    def load_appends(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self._top(list).extend(items)

    def load_setitem(self) -> None:
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())  # type: ignore[attr-defined]

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        self.append({})  # type: ignore[attr-defined]
        self._set_items(items)

    def load_additems(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        require_keys(items)
        self._top(set).update(items)

    def load_frozenset(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined]
        require_keys(items)
        self.append(frozenset(items))  # type: ignore[attr-defined]

    def _pop(self) -> Any:
        return self.stack.pop()  # type: ignore[attr-defined]

    def _top(self, kind: type) -> Any:
        """Return the value that an instruction changes. Raise ValueError for another kind."""
        value = self.stack[-1]  # type: ignore[attr-defined]
        if not isinstance(value, kind):
            raise ValueError(
                f"an instruction that changes a {describe_value(value)} like a {kind.__name__}"
            )
        return value

    def _set_items(self, items: list) -> None:
        keys, values = items[::2], items[1::2]
        require_keys(keys)
        self._top(dict).update(zip(keys, values, strict=True))


class _StorageUnpickler(RestrictedUnpickler):
    """An unpickler for a tensor's storage, which may only name types of storages."""

    def find_class(self, module: str, name: str) -> Any:
        if _full_name(module, name) not in STORAGE_DTYPES:
            raise ForbiddenName(f"{_printable_name(module, name)}, inside of a tensor's storage")
        return Global(_full_name(module, name))


def read_legacy_file(
    file: IO[bytes], allowance: Allowance, kind: type[RestrictedUnpickler] = RestrictedUnpickler
) -> Any:
    """Read a file of torch.save from before its zip format.

    The file is five pickles, of which the fourth is the value and the fifth is the order of the
    storages, and then the numbers of the storages.
    """
    storages = LegacyStorages(allowance)
    readers = (kind(file, allowance, storages.storage) for _ in range(5))
    if next(readers).load() != _TORCH_MAGIC:
        raise ValueError("it does not begin like a file of torch.save's")
    _, system, value, keys = (reader.load() for reader in readers)
    if not system["little_endian"]:
        raise ValueError("written on a big-endian machine")
    storages.fill(keys, file)
    return value


def _full_name(module: str, name: str) -> str:
    """Join the two parts of a name, and translate it to the name in this version of Python."""
    if len(module) + len(name) > _LONGEST_NAME:
        raise ForbiddenName(_printable_name(module, name))
    full = f"{module}.{name}"
    for old, new in _RENAMED.items():
        if full.startswith(old):
            full = new + full.removeprefix(old)
    return full


def _printable_name(module: str, name: str) -> str:
    """Return the start of a name, with control characters escaped."""
    return escape_unprintable(f"{module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}", 100)
