"""Read the headers of .npy files."""

from __future__ import annotations

from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

MAX_HEADER_BYTES = 2**14  # numpy reads at most 10,000
_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class NpyHeader(NamedTuple):
    """The header of a .npy file; its numbers begin after `start` bytes."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype
    start: int


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read the header at the start of a .npy file. Raise any error of numpy's for other content."""
    version = npy.read_magic(file)
    if version not in _HEADER_READERS:
        raise ValueError(f"it is of version {version} of .npy, expected {min(_HEADER_READERS)}")
    return NpyHeader(*_HEADER_READERS[version](file), file.tell())
