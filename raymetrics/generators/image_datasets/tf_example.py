"""Parse a `tf.train.Example`: named lists of bytes or of whole numbers, in protocol buffers.

The messages are those of TensorFlow's `example.proto` and `feature.proto`; the encoding is that of
protocol buffers (https://protobuf.dev/programming-guides/encoding).
"""

from __future__ import annotations

from collections.abc import Iterator

from raymetrics.safe_archives.protobuf_fields import read_fields, read_varint

Feature = list[memoryview] | list[int] | None

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
            for number, value in read_fields(entry):
                if number == _KEY and isinstance(value, memoryview):
                    name = bytes(value)
                elif number == _VALUE and isinstance(value, memoryview):
                    feature = value
            example[name.decode()] = _parse_feature(feature)
    return example


def _parse_feature(message: memoryview) -> Feature:
    for number, value in read_fields(message):
        if number == _BYTES_LIST and isinstance(value, memoryview):
            return list(_messages(value, _LIST_VALUE))
        if number == _INT64_LIST and isinstance(value, memoryview):
            return list(_parse_numbers(value))
    return None


def _parse_numbers(message: memoryview) -> Iterator[int]:
    """Yield the numbers of an Int64List, which may lie in one field or in a field for each."""
    for number, value in read_fields(message):
        if number != _LIST_VALUE:
            continue
        if isinstance(value, int):
            yield _signed(value)
            continue
        place = 0
        while place < len(value):
            unsigned, place = read_varint(value, place)
            yield _signed(unsigned)


def _signed(value: int) -> int:
    """Return the number of 64 bits in two's complement."""
    return value - (1 << 64) if value >> 63 else value


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the contents of the fields of a number that hold bytes or messages."""
    for number, value in read_fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value
