"""The zip files of torch.save and torch.jit.save, read without torch and without executing them.

Such a file is one folder: data.pkl, the numbers of every storage under data/, and of TorchScript
its program under code/. Storages lie in it unpacked; tensors become numpy's arrays.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import IO, Any

import numpy as np

from raymetrics.pickles.values import STORAGES, Refused

LARGEST = 1 << 26  # bytes of what was compressed: torch compresses programs alone
DAMAGES = (
    ValueError, KeyError, EOFError, OSError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Archive:
    """The members of such a file, by their names below its folder.

    `DAMAGES` for what is no zip, is damaged, or has names twice: then it would be another
    file for another reader. torch takes upper and lower case for the same.
    """

    def __init__(self, file: IO[bytes] | str) -> None:
        self.zip = zipfile.ZipFile(file)
        infos = self.zip.infolist()
        names = [info.filename for info in infos]
        self.folder = names[0].partition("/")[0] + "/" if names else ""
        self.members = {i.filename.removeprefix(self.folder): i for i in infos}
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("the same name twice in the zip")
        packed = sum(i.file_size for i in infos if i.compress_type != zipfile.ZIP_STORED)
        if packed > LARGEST:
            raise ValueError(f"{packed} compressed bytes, expected {LARGEST} at most")
        self.storages: dict[tuple[str, str], np.ndarray] = {}

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def read(self, name: str) -> bytes:
        """A member's bytes."""
        if name not in self.members:
            raise ValueError(f"a zip without {name}")
        return self.zip.read(self.members[name])

    def text(self, name: str) -> str:
        """A member's text; what is not UTF-8 in it is replaced."""
        return self.read(name).decode(errors="replace")

    def storage(self, pid: Any, folder: str = "data") -> np.ndarray:
        """("storage", type, key, device, count) -> its numbers; bfloat16 as float32."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"):
            raise Refused(f"an object outside of itself, {str(pid)[:100]!r}")
        _, kind, key, _, count = pid
        if kind.name not in STORAGES:
            raise Refused(kind.name)
        file = f"{folder}/{key}"
        if (kind.name, file) not in self.storages:
            self.storages[kind.name, file] = self._numbers(file, kind.name, count)
        return self.storages[kind.name, file]

    def _numbers(self, name: str, kind: str, count: int) -> np.ndarray:
        dtype = np.dtype(f"<{STORAGES[kind]}")
        if "byteorder" in self.members and self.read("byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        there = self.members[name].file_size if name in self.members else 0
        if there != count * dtype.itemsize:
            raise ValueError(f"{there} bytes in {name}, expected {count} numbers {dtype}")
        numbers = np.frombuffer(self.read(name), dtype) if count else np.empty(0, dtype)
        if kind == "torch.BFloat16Storage":  # the upper half of a float32
            return (numbers.astype("<u4") << 16).view("<f4")
        return numbers
