"""Storages in files that torch.save wrote before its zip format; pickled storages still have it.

Such a file is five pickles, of which the fourth is the value, and then the numbers of every
storage.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from raymetrics.safe_pickle.array_values import STORAGE_DTYPES, require_size, storage_numbers
from raymetrics.safe_pickle.records import ForbiddenName, describe_value
from raymetrics.safe_pickle.size_limits import Allowance


class LegacyStorages:
    """The storages of such a file, by their keys.

    Their numbers come after the pickle of the value that contains them.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.by_key: dict[str, tuple[str, np.ndarray]] = {}

    def storage(self, pid: Any) -> np.ndarray:
        """Return the memory for ("storage", type, key, device, count, None), read-only.

        `fill` writes the numbers later.
        """
        if not (isinstance(pid, tuple) and len(pid) == 6 and pid[0] == "storage"):
            raise ForbiddenName(f"an object outside of itself, {describe_value(pid)}")
        _, kind, key, _, count, view = pid
        if kind.name not in STORAGE_DTYPES or not isinstance(key, str) or view is not None:
            raise ValueError(
                f"a storage {describe_value(kind.name)}, {describe_value(key)}, "
                f"{describe_value(view)}"
            )
        if key not in self.by_key:
            self.by_key[key] = kind.name, self._room(kind.name, require_size(count))
        first_kind, numbers = self.by_key[key]
        if first_kind != kind.name or len(numbers) != require_size(count):
            raise ValueError(
                f"a storage {first_kind} of {len(numbers)} numbers that is another too"
            )
        room = numbers.view()
        room.flags.writeable = False
        return room

    def _room(self, kind: str, count: int) -> np.ndarray:
        dtype = storage_numbers(kind, b"", 0).dtype
        self.allowance.spend(count * dtype.itemsize)
        return np.zeros(count, dtype)

    def fill(self, keys: Any, file: IO[bytes]) -> None:
        """Read the numbers of all storages, in the order of `keys`, each after its count."""
        texts = [key for key in keys if isinstance(key, str)]
        if sorted(texts) != sorted(self.by_key):
            raise ValueError("numbers of other storages than those of the tensors")
        for key in texts:
            kind, numbers = self.by_key[key]
            count, width = (
                int.from_bytes(file.read(8), "little"),
                np.dtype(STORAGE_DTYPES[kind]).itemsize,
            )
            content = file.read(require_size(count) * width)
            numbers[:] = storage_numbers(kind, content, len(numbers))
