"""Read the zip files of torch.save and torch.jit.save without torch and without executing them.

Such a file is one folder: data.pkl, the numbers of every storage under data/, and for TorchScript
the program under code/. Storages are not compressed; tensors become numpy's arrays.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from raymetrics.safe_pickle.array_values import STORAGE_DTYPES, storage_numbers
from raymetrics.safe_pickle.records import ForbiddenName, describe_value

MAX_COMPRESSED_BYTES = 1 << 26  # unpacked bytes of compressed members: torch compresses only code
# The errors that Python's and numpy's readers raise for damaged files.
DAMAGE_ERRORS = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    EOFError,
    OSError,
    RuntimeError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


class TorchArchive:
    """The members of such a file, by their names below its folder.

    Raises one of `DAMAGE_ERRORS` for a file that is not a zip file, is damaged, or has a name
    twice, because another reader could then find other members. Names that differ in case count as
    equal, as torch does not distinguish them.
    """

    def __init__(self, file: IO[bytes] | str) -> None:
        self.zip: Any = zipfile.ZipFile(file)
        infos = self.zip.infolist()
        names = [info.filename for info in infos]
        self.folder = names[0].partition("/")[0] + "/" if names else ""
        self.members = {i.filename.removeprefix(self.folder): i for i in infos}
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("the same name twice in the zip")
        self._require_size(infos)
        self.storages: dict[str, tuple[str, np.ndarray]] = {}

    def _require_size(self, infos: list[zipfile.ZipInfo]) -> None:
        """Raise ValueError for members that take more memory than their file makes likely."""
        stored = [i for i in infos if i.compress_type == zipfile.ZIP_STORED]
        self.size = sum(i.file_size for i in infos)
        compressed_bytes = self.size - sum(i.file_size for i in stored)
        if compressed_bytes > MAX_COMPRESSED_BYTES:
            raise ValueError(
                f"{compressed_bytes} compressed bytes, expected {MAX_COMPRESSED_BYTES} at most"
            )
        member_bytes, file_bytes = (
            sum(i.compress_size for i in infos),
            self.zip.fp.seek(0, io.SEEK_END),
        )
        if member_bytes > file_bytes or any(i.compress_size != i.file_size for i in stored):
            raise ValueError(
                f"{member_bytes} bytes of members, {self.size} unpacked, in {file_bytes} bytes"
            )

    def __enter__(self) -> TorchArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def read(self, name: str) -> bytes:
        """Return the bytes of a member. Raise ValueError if there is no such member."""
        if name not in self.members:
            raise ValueError(f"a zip without {name}")
        return self.zip.read(self.members[name])

    def text(self, name: str) -> str:
        """Return the text of a member; bytes that are not UTF-8 are replaced."""
        return self.read(name).decode(errors="replace")

    def storage(self, pid: Any, folder: str = "data") -> np.ndarray:
        """Return the numbers of ("storage", type, key, device, count); bfloat16 as float32.

        A storage has one type, because torch.save allows no other.
        """
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"):
            raise ForbiddenName(f"an object outside of itself, {describe_value(pid)}")
        _, kind, key, _, count = pid
        if kind.name not in STORAGE_DTYPES:
            raise ForbiddenName(kind.name)
        if not isinstance(key, str):
            raise ValueError(f"a storage whose name is a {describe_value(key)}")
        file = f"{folder}/{key}"
        if file not in self.storages:
            self.storages[file] = kind.name, self._numbers(file, kind.name, count)
        first_kind, numbers = self.storages[file]
        if first_kind != kind.name:
            raise ValueError(f"a storage that is {first_kind} and {kind.name}")
        return numbers

    def _numbers(self, name: str, kind: str, count: Any) -> np.ndarray:
        if "byteorder" in self.members and self.read("byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        return storage_numbers(kind, self.read(name), count)
