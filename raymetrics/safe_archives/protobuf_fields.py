"""Read the fields of protocol buffers (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

from collections.abc import Iterator

# Kinds of fields, and the bytes of those of a fixed size.
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_MAX_VARINT_BYTES = 10


def read_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the content of each field; raise ValueError for a damaged one."""
    place = 0
    while place < len(message):
        key, place = read_varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = read_varint(message, place)
            yield number, value
            continue
        if kind == _LENGTH_DELIMITED:
            length, place = read_varint(message, place)
        elif kind in _FIXED_BYTES:
            length = _FIXED_BYTES[kind]
        else:
            raise ValueError(f"a field of the kind {kind}")
        if length > len(message) - place:
            raise ValueError(
                f"a field of {length} bytes, of which {len(message) - place} are there"
            )
        yield number, message[place : place + length]
        place += length


def read_varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the number of 64 bits at a place, and the place after it.

    Raise ValueError for one that does not end.
    """
    value = 0
    for i, byte in enumerate(message[place : place + _MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value & (1 << 64) - 1, place + i + 1
    raise ValueError("a number that does not end")
