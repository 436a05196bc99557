"""The arrays of a .npz file, each read when it is asked for, and none larger than it is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np

from raymetrics.safe_archives.npy_headers import read_npy_header
from raymetrics.safe_archives.zip_members import require_honest_packing

MAX_ARRAY_BYTES = 1 << 32  # bytes of an array: a covariance of 23,000 dimensions in float64


class NpzArrays(Mapping[str, np.ndarray]):
    """By name, as `numpy.load` gives them. numpy makes room for what a header announces; here
    ValueError is raised where that is not what there is, is more than LARGEST, or holds objects."""

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
        return _parse_npy(self.zip.read(member), name)


def _parse_npy(data: bytes, name: str) -> np.ndarray:
    """The array in the bytes of a .npy file. ValueError unless they are as many as it says."""
    file = io.BytesIO(data)
    header = read_npy_header(file)
    flat = np.frombuffer(data[header.start :], header.dtype)
    return flat.reshape(header.shape, order="F" if header.columns_first else "C")
