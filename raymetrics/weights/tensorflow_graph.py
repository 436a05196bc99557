"""Read the constants of a frozen TensorFlow graph, without TensorFlow.

A GraphDef is a protocol buffer: a sequence of fields (number, wire type, value), where a value may
be a message, again a sequence of fields. Field numbers are those of TensorFlow's graph.proto,
node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

import numpy as np

from raymetrics.errors import ExtractorError
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.protobuf_fields import read_fields

_DT_FLOAT = 1
MAX_REPEATED_VALUES = 1 << 24  # elements of a graph that repeated values may fill
_MAX_DIMENSIONS = 64  # numpy's limit

_FieldValue = int | memoryview


@dataclass(frozen=True)
class GraphNode:
    """An operation of the graph: its name, its kind, and its attributes (numbers and tensors)."""

    name: str
    operation: str
    attributes: dict[str, bool | float | np.ndarray] = field(default_factory=dict)


class _DamagedGraph(Exception):
    """A description of what is wrong with the bytes."""


def read_graph(data: bytes, where: str) -> dict[str, GraphNode]:
    """Read the nodes of a GraphDef, by name. Raise ExtractorError for other or truncated bytes."""
    what = f"{where} is no TensorFlow graph, or a damaged one ({len(data)} bytes)"
    with require_undamaged(ExtractorError, what, "expected a frozen GraphDef: get the file again"):
        budget = _RepeatBudget(MAX_REPEATED_VALUES)
        nodes = (
            _read_node(value, budget)
            for number, value in read_fields(memoryview(data))
            if number == 1
        )
        return {node.name: node for node in nodes}


class _RepeatBudget:
    """A limit on elements that repeat a value: a file of a kilobyte can request gigabytes."""

    def __init__(self, limit: int) -> None:
        self._remaining = limit

    def try_take(self, count: int) -> bool:
        """Take `count` elements; return whether the limit allows them."""
        self._remaining -= count
        return self._remaining >= 0


def _read_node(message: _FieldValue, budget: _RepeatBudget) -> GraphNode:
    """Read a NodeDef: name 1, op 2, and attr 5, a map of keys 1 to values 2."""
    name = operation = ""
    attributes: dict[str, bool | float | np.ndarray] = {}
    for number, value in read_fields(_require_bytes(message)):
        if number == 1:
            name = _read_text(value)
        elif number == 2:
            operation = _read_text(value)
        elif number == 5:
            entry = dict(read_fields(_require_bytes(value)))
            attribute = _read_attribute(entry[2], budget) if {1, 2} <= entry.keys() else None
            if attribute is not None:
                attributes[_read_text(entry[1])] = attribute
    return GraphNode(name, operation, attributes)


def _read_attribute(
    message: _FieldValue, budget: _RepeatBudget
) -> bool | float | np.ndarray | None:
    """Read an AttrValue: f 4, b 5, tensor 8; return None for other kinds."""
    for number, value in read_fields(_require_bytes(message)):
        if number == 4:
            return float(struct.unpack("<f", _require_bytes(value))[0])
        if number == 5:
            return bool(value)
        if number == 8:
            return _read_tensor(value, budget)
    return None


def _read_tensor(message: _FieldValue, budget: _RepeatBudget) -> np.ndarray | None:
    """Read a TensorProto: dtype 1, shape 2, tensor_content 4, float_val 5; None unless float32.

    If the shape has more elements than float_val, the last value is repeated.
    """
    kind: _FieldValue = 0
    shape: tuple[int, ...] = ()
    content, values = b"", bytearray()
    for number, value in read_fields(_require_bytes(message)):
        if number == 1:
            kind = value
        elif number == 2:
            shape = _read_shape(value)
        elif number == 4:
            content = bytes(_require_bytes(value))
        elif number == 5:
            values += _require_bytes(value)
    return _float_array(content, bytes(values), shape, budget) if kind == _DT_FLOAT else None


def _float_array(
    content: bytes, values: bytes, shape: tuple[int, ...], budget: _RepeatBudget
) -> np.ndarray:
    """Make the array of this shape from the bytes. Raise _DamagedGraph if they do not fit."""
    count, byte_count = math.prod(shape), len(content or values)
    repeated = not content and 0 < byte_count < 4 * count and budget.try_take(count)
    if byte_count % 4 or (byte_count != 4 * count and not repeated):
        raise _DamagedGraph(f"{byte_count} bytes for a tensor float32 {list(shape)}")
    stored = np.frombuffer(content or values, "<f4")
    return np.concatenate([stored, np.full(count - len(stored), stored[-1:])]).reshape(shape)


def _read_shape(message: _FieldValue) -> tuple[int, ...]:
    """Read a TensorShapeProto: dim 2, each with size 1."""
    dimensions = [value for number, value in read_fields(_require_bytes(message)) if number == 2]
    if len(dimensions) > _MAX_DIMENSIONS:
        raise _DamagedGraph(f"a tensor of {len(dimensions)} dimensions")
    return tuple(int(dict(read_fields(_require_bytes(d))).get(1, 0)) for d in dimensions)


def _read_text(value: _FieldValue) -> str:
    """Decode a field of text."""
    return str(_require_bytes(value), "utf-8")


def _require_bytes(value: _FieldValue) -> memoryview:
    """Return the bytes of a field. Raise _DamagedGraph for a number."""
    if isinstance(value, int):
        raise _DamagedGraph("a number where a message was expected")
    return value
