"""Compute CRC-32C, the checksum of TFRecords (Castagnoli et al. 1993; RFC 3720, appendix B.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

_POLYNOMIAL = 0x82F63B78  # with the bits in reversed order
_ONES = 0xFFFFFFFF
_LANES = (2048, 64)  # words; each folds what the one before leaves, for the loop over bytes


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of bytes.

    A loop over bytes would take longer than decoding the image that they hold. So long data are
    folded first: a checksum is linear, and all words of a row are moved over the next row at once.
    """
    register = _ONES
    for lanes in _LANES:
        data, register = _fold(data, lanes, register)
    table = _byte_table()
    for byte in bytes(data):
        register = register >> 8 ^ table[(register ^ byte) & 255]
    return register ^ _ONES


def _fold(data: bytes | memoryview, lanes: int, register: int) -> tuple[bytes | memoryview, int]:
    """Return shorter data, and a register from which they have the same checksum.

    Data of less than two rows of `lanes` words are returned unchanged.
    """
    row_bytes = 4 * lanes
    rows = len(data) // row_bytes
    if rows < 2:
        return data, register
    words = np.frombuffer(data, "<u4", rows * lanes).reshape(rows, lanes)
    low, high = _tables_after_zeros(row_bytes)
    state = words[0].copy()
    state[0] ^= np.uint32(register)
    for row in words[1:]:
        halves = state.view("<u2")
        state = low[halves[0::2]] ^ high[halves[1::2]] ^ row
    return state.tobytes() + bytes(data[rows * row_bytes :]), 0


@cache
def _byte_table() -> Sequence[int]:
    """Return the register after each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ (_POLYNOMIAL if value & 1 else 0) for value in table]
    return table


@cache
def _tables_after_zeros(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return registers after `count` bytes of zero, a power of two, for each half of a register.

    Each is uint32 [65536]; the register after the zeros is the sum, without carries, of that of its
    lower and that of its upper 16 bits.
    """
    table = _byte_table()
    columns = [(1 << bit) >> 8 ^ table[(1 << bit) & 255] for bit in range(32)]
    while count > 1:
        columns = [_apply(columns, column) for column in columns]
        count //= 2
    return _sums(columns[:16]), _sums(columns[16:])


def _apply(columns: Sequence[int], register: int) -> int:
    """Multiply a matrix of bits, given by its columns, with a register."""
    product = 0
    for bit, column in enumerate(columns):
        product ^= column if register >> bit & 1 else 0
    return product


def _sums(columns: Sequence[int]) -> np.ndarray:
    """Return the product of 16 columns with each number of 16 bits, uint32 [65536]."""
    sums = np.zeros(1, np.uint32)
    for column in columns:
        sums = np.concatenate([sums, sums ^ np.uint32(column)])
    return sums
