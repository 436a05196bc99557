"""Arrays to the bytes of a .npz file and back; none is believed to be larger than it is.

Where damaged bytes are an error: `with require_undamaged(...): parse_npz(data)`.
"""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np

from raymetrics.safe_archives.npy_headers import NpyHeader, read_npy_header
from raymetrics.safe_archives.zip_members import require_honest_packing

Arrays = dict[str, np.ndarray]

MAX_ARRAY_BYTES = 1 << 32  # bytes of an array: a covariance of 23,000 dimensions in float64
# The errors of zipfile and numpy for bytes that are no .npz file, or a damaged one.
DAMAGE_ERRORS = (
    ValueError, OSError, EOFError, LookupError, RuntimeError, SyntaxError, TypeError, MemoryError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


def npz_bytes(arrays: Mapping[str, np.ndarray], *, compress: bool = False) -> bytes:
    """Return the bytes of a .npz file with these arrays."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def parse_npz(data: bytes) -> Arrays:
    """Return the arrays of a .npz file. Raise one of `DAMAGE_ERRORS` if it is damaged."""
    return dict(NpzArrays(io.BytesIO(data)))


def parse_npz_or_none(data: bytes | None) -> Arrays | None:
    """Return the arrays of a .npz file; None without data, or if it is damaged."""
    try:
        return None if data is None else parse_npz(data)
    except DAMAGE_ERRORS:
        return None


class NpzArrays(Mapping[str, np.ndarray]):
    """Arrays by name as `numpy.load` returns them, each read when it is looked up.

    numpy allocates what a header announces. Here ValueError is raised if the header announces
    other than there is, more than `MAX_ARRAY_BYTES`, or objects.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.zip = zipfile.ZipFile(file)
        self.members = {i.filename.removesuffix(".npy"): i for i in self.zip.infolist()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, name: str) -> np.ndarray:
        member = self.members[name]
        if member.file_size > MAX_ARRAY_BYTES:
            raise ValueError(
                f"{name} would take {member.file_size} bytes, at most {MAX_ARRAY_BYTES}"
            )
        require_honest_packing(member)
        return parse_npy(self.zip.read(member), name)

    def header(self, name: str) -> NpyHeader:
        """Return the header of an array, which is not read."""
        with self.zip.open(self.members[name]) as file:
            return read_npy_header(file)


def parse_npy(data: bytes, name: str) -> np.ndarray:
    """Return the array of a .npy file. Raise ValueError unless it has the size that its header
    announces."""
    file = io.BytesIO(data)
    header = read_npy_header(file)
    flat = np.frombuffer(data[header.start :], header.dtype)
    return flat.reshape(header.shape, order="F" if header.columns_first else "C")
