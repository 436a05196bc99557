"""The constants of a frozen TensorFlow graph, read without TensorFlow.

A GraphDef is a protocol buffer: fields of (number, wire type, value), one after another, of
which messages inside of messages are again made. Field numbers are those of TensorFlow's
graph.proto, node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from raymetrics.errors import ExtractorError
from raymetrics.safe_archives.damage import refuse_damage

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
DT_FLOAT = 1
LARGEST = 1 << 24  # places that repeated values may fill in a graph
MAX_DIMENSIONS = 64  # numpy's

Value = int | memoryview


@dataclass(frozen=True)
class Node:
    """An operation of the graph: its name, its kind, and of its attributes numbers and tensors."""

    name: str
    operation: str
    attributes: dict[str, bool | float | np.ndarray] = field(default_factory=dict)


class Damaged(Exception):
    """What is wrong with the bytes."""


def read_graph(data: bytes, where: str) -> dict[str, Node]:
    """The nodes of a GraphDef by name. ExtractorError if the bytes are none, or cut off."""
    what = f"{where} is no TensorFlow graph, or a damaged one ({len(data)} bytes)"
    with refuse_damage(ExtractorError, what, "expected a frozen GraphDef: get the file again"):
        room = _Room(LARGEST)
        nodes = (node_of(value, room) for number, value in fields(memoryview(data)) if number == 1)
        return {node.name: node for node in nodes}


class _Room:
    """Places for what a graph repeats: a file of a kilobyte can ask for gigabytes."""

    def __init__(self, places: int) -> None:
        self._left = places

    def holds(self, count: int) -> bool:
        """Whether `count` more have room, which they take."""
        self._left -= count
        return self._left >= 0


def fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """The (number, value) of every field of a message."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if wire == BYTES:
            length, at = varint(message, at)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise Damaged(f"a field of wire type {wire}")
        if length > len(message) - at:
            raise Damaged(f"a field of {length} bytes where {len(message) - at} are left")
        yield number, message[at : at + length]
        at += length


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that starts at a place, seven bits a byte; and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise Damaged("it is cut off")
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise Damaged("a number of more than ten bytes")


def node_of(message: Value, room: _Room) -> Node:
    """NodeDef: name 1, op 2, and attr 5, a map of keys 1 to values 2."""
    name = operation = ""
    attributes: dict[str, bool | float | np.ndarray] = {}
    for number, value in fields(inside(message)):
        if number == 1:
            name = str_of(value)
        elif number == 2:
            operation = str_of(value)
        elif number == 5:
            entry = dict(fields(inside(value)))
            found = attribute_of(entry[2], room) if {1, 2} <= entry.keys() else None
            if found is not None:
                attributes[str_of(entry[1])] = found
    return Node(name, operation, attributes)


def attribute_of(message: Value, room: _Room) -> bool | float | np.ndarray | None:
    """AttrValue: f 4, b 5, tensor 8; None for the other kinds."""
    for number, value in fields(inside(message)):
        if number == 4:
            return float(struct.unpack("<f", inside(value))[0])
        if number == 5:
            return bool(value)
        if number == 8:
            return tensor_of(value, room)
    return None


def tensor_of(message: Value, room: _Room) -> np.ndarray | None:
    """TensorProto: dtype 1, shape 2, tensor_content 4, float_val 5; None if it holds no floats.

    Of float_val the last one is repeated where the shape has more places.
    """
    kind: Value = 0
    shape: tuple[int, ...] = ()
    content, values = b"", bytearray()
    for number, value in fields(inside(message)):
        if number == 1:
            kind = value
        elif number == 2:
            shape = shape_of(value)
        elif number == 4:
            content = bytes(inside(value))
        elif number == 5:
            values += inside(value)
    return floats(content, bytes(values), shape, room) if kind == DT_FLOAT else None


def floats(content: bytes, values: bytes, shape: tuple[int, ...], room: _Room) -> np.ndarray:
    """The array of this shape that the bytes hold."""
    count, there = math.prod(shape), len(content or values)
    repeated = not content and 0 < there < 4 * count and room.holds(count)
    if there % 4 or (there != 4 * count and not repeated):
        raise Damaged(f"{there} bytes for a tensor float32 {list(shape)}")
    given = np.frombuffer(content or values, "<f4")
    return np.concatenate([given, np.full(count - len(given), given[-1:])]).reshape(shape)


def shape_of(message: Value) -> tuple[int, ...]:
    """TensorShapeProto: dim 2, of which size 1."""
    dimensions = [value for number, value in fields(inside(message)) if number == 2]
    if len(dimensions) > MAX_DIMENSIONS:
        raise Damaged(f"a tensor of {len(dimensions)} dimensions")
    return tuple(int(dict(fields(inside(d))).get(1, 0)) for d in dimensions)


def str_of(value: Value) -> str:
    """A field that is text."""
    return str(inside(value), "utf-8")


def inside(value: Value) -> memoryview:
    """The bytes of a field that should hold some."""
    if isinstance(value, int):
        raise Damaged("a number where a message was expected")
    return value
