"""The files of torch.save before its zip files; storages are pickled so to this day.

They are five pickles, of which the fourth is the value, and then the numbers of every storage.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np

from raymetrics.safe_pickle.array_values import STORAGES, integer, numbers_of_storage
from raymetrics.safe_pickle.records import Refused, shown
from raymetrics.safe_pickle.size_limits import Allowance


class LegacyStorages:
    """The storages of a file of torch.save's before its zip files, by their keys.

    Their numbers come after the pickle that says what is made of them.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.found: dict[str, tuple[str, np.ndarray]] = {}

    def storage(self, pid: Any) -> np.ndarray:
        """("storage", type, key, device, count, None) -> room for its numbers, read-only."""
        if not (isinstance(pid, tuple) and len(pid) == 6 and pid[0] == "storage"):
            raise Refused(f"an object outside of itself, {shown(pid)}")
        _, kind, key, _, count, view = pid
        if kind.name not in STORAGES or not isinstance(key, str) or view is not None:
            raise ValueError(f"a storage {shown(kind.name)}, {shown(key)}, {shown(view)}")
        if key not in self.found:
            self.found[key] = kind.name, self._room(kind.name, integer(count))
        known, numbers = self.found[key]
        if known != kind.name or len(numbers) != integer(count):
            raise ValueError(f"a storage {known} of {len(numbers)} numbers that is another too")
        room = numbers.view()
        room.flags.writeable = False
        return room

    def _room(self, kind: str, count: int) -> np.ndarray:
        dtype = numbers_of_storage(kind, b"", 0).dtype
        self.allowance.spend(count * dtype.itemsize)
        return np.zeros(count, dtype)

    def fill(self, keys: Any, file: IO[bytes]) -> None:
        """Read the numbers of all of them, in this order, each after its count."""
        texts = [key for key in keys if isinstance(key, str)]
        if sorted(texts) != sorted(self.found):
            raise ValueError("numbers of other storages than those of the tensors")
        for key in texts:
            kind, numbers = self.found[key]
            count, width = int.from_bytes(file.read(8), "little"), np.dtype(STORAGES[kind]).itemsize
            content = file.read(integer(count) * width)
            numbers[:] = numbers_of_storage(kind, content, len(numbers))
