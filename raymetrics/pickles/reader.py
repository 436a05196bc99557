"""The instructions of a pickle, of which none calls what the pickle names."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from raymetrics.pickles.values import (
    MAKERS,
    NAMES,
    TORCH_DTYPE,
    Persistent,
    Refused,
    is_record,
    set_state,
)

# What other versions of Python, numpy and NVIDIA's programs call the same things.
RENAMED = {
    "__builtin__.": "builtins.",
    "copy_reg.": "copyreg.",
    "numpy._core.": "numpy.core.",
    "dnnlib.util.": "dnnlib.",
}


@dataclass(frozen=True, slots=True)
class Global:
    """A name in a pickle. It can be called by the reader alone, and nothing can be set on it."""

    name: str

    def __call__(self, *args: Any) -> Any:
        if is_record(self.name):
            return Persistent(self.name)
        if self.name not in MAKERS:
            raise Refused(self.name)
        return MAKERS[self.name](*args)


class Reader(pickle._Unpickler):
    """Python's own unpickler, whose every instruction that could call something is replaced."""

    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], storage: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self.storage = storage

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        for old, new in RENAMED.items():
            if full.startswith(old):
                full = new + full.removeprefix(old)
        if TORCH_DTYPE.fullmatch(full):
            import torch

            return getattr(torch, name)
        if full not in MAKERS and full not in NAMES and not is_record(full):
            raise Refused(f"{module}.{name}")
        return Global(full)

    def get_extension(self, code: int) -> None:
        raise Refused(f"the extension {code}")

    def persistent_load(self, pid: Any) -> Any:
        if self.storage is not None:
            return self.storage(pid)
        raise Refused(f"an object outside of itself, {str(pid)[:100]!r}")

    def _instantiate(self, made: Any, args: Any) -> None:
        """For the instructions INST and OBJ."""
        self.append(_call(made, args))  # type: ignore[attr-defined]

    def load_reduce(self) -> None:
        args, made = self.stack.pop(), self.stack.pop()  # type: ignore[attr-defined]
        self.append(_call(made, args))  # type: ignore[attr-defined]

    def load_newobj_ex(self) -> None:
        raise Refused("a constructor with keywords")

    def load_build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        set_state(self.stack[-1], state)  # type: ignore[attr-defined]

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
    if not isinstance(made, Global):
        raise Refused(f"a call of {type(made).__name__}")
    return made(*args)
