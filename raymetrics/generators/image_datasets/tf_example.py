"""Parse a `tf.train.Example`: named lists of bytes or of whole numbers, in protocol buffers.

The messages are those of TensorFlow's `example.proto` and `feature.proto`; the encoding is that of
protocol buffers (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator

Feature = list[memoryview] | list[int] | None

# Kinds of fields, and the bytes of those of a fixed size.
_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_MAX_VARINT_BYTES = 10
# Numbers of fields: of Example, of Features, of an entry of its map, of Feature, of any list.
_FEATURES, _ENTRY, _KEY, _VALUE, _LIST_VALUE = 1, 1, 1, 2, 1
_BYTES_LIST, _INT64_LIST = 1, 3


def parse_example(message: bytes | memoryview) -> dict[str, Feature]:
    """Return the features by their names: bytes as views of the message, or numbers of int64.

    A feature of floats, or without a value, is None. Raises ValueError for a damaged message.
    """
    example: dict[str, Feature] = {}
    for features in _messages(memoryview(message), _FEATURES):
        for entry in _messages(features, _ENTRY):
            name, feature = b"", memoryview(b"")
            for number, value in _fields(entry):
                if number == _KEY and isinstance(value, memoryview):
                    name = bytes(value)
                elif number == _VALUE and isinstance(value, memoryview):
                    feature = value
            example[name.decode()] = _parse_feature(feature)
    return example


def _parse_feature(message: memoryview) -> Feature:
    for number, value in _fields(message):
        if number == _BYTES_LIST and isinstance(value, memoryview):
            return list(_messages(value, _LIST_VALUE))
        if number == _INT64_LIST and isinstance(value, memoryview):
            return list(_parse_numbers(value))
    return None


def _parse_numbers(message: memoryview) -> Iterator[int]:
    """Yield the numbers of an Int64List, which may lie in one field or in a field for each."""
    for number, value in _fields(message):
        if number != _LIST_VALUE:
            continue
        if isinstance(value, int):
            yield _signed(value)
            continue
        place = 0
        while place < len(value):
            unsigned, place = _read_varint(value, place)
            yield _signed(unsigned)


def _signed(value: int) -> int:
    """Return the number of 64 bits in two's complement."""
    return value - (1 << 64) if value >> 63 else value


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the contents of the fields of a number that hold bytes or messages."""
    for number, value in _fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the content of each field; raise ValueError for a damaged one."""
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _read_varint(message, place)
            yield number, value
            continue
        if kind == _LENGTH_DELIMITED:
            length, place = _read_varint(message, place)
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


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the number of 64 bits at a place, and the place after it."""
    value = 0
    for i, byte in enumerate(message[place : place + _MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value & (1 << 64) - 1, place + i + 1
    raise ValueError("a number that does not end")
