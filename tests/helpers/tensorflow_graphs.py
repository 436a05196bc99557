"""Encode frozen graphs like TensorFlow's, with Google's own encoder of protocol buffers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FLOAT, INT32, BOOL, STRING, MESSAGE, BYTES = 2, 5, 8, 9, 11, 12
DT_FLOAT, DT_INT32 = 1, 3
# Message: {field: (number, type, repeated)}, as in TensorFlow's .proto files, as far as needed.
MESSAGES: dict[str, dict[str, tuple[int, int | str, bool]]] = {
    "GraphDef": {"node": (1, "NodeDef", True), "version": (3, INT32, False)},
    "NodeDef": {
        "name": (1, STRING, False),
        "op": (2, STRING, False),
        "input": (3, STRING, True),
        "attr": (5, "Entry", True),  # a map is that on the wire
    },
    "Entry": {"key": (1, STRING, False), "value": (2, "AttrValue", False)},
    "AttrValue": {
        "s": (2, BYTES, False),
        "f": (4, FLOAT, False),
        "b": (5, BOOL, False),
        "type": (6, INT32, False),
        "tensor": (8, "TensorProto", False),
    },
    "TensorProto": {
        "dtype": (1, INT32, False),
        "tensor_shape": (2, "TensorShapeProto", False),
        "tensor_content": (4, BYTES, False),
        "float_val": (5, FLOAT, True),
        "int_val": (7, INT32, True),
    },
    "TensorShapeProto": {"dim": (2, "Dim", True)},
    "Dim": {"size": (1, INT32, False)},
}


@cache
def message_class(name: str) -> Any:
    """Return the class of a message."""
    file = descriptor_pb2.FileDescriptorProto(name="graph.proto", package="tf", syntax="proto3")
    for message_name, fields in MESSAGES.items():
        definition = file.message_type.add(name=message_name)
        for field, (number, kind, repeated) in fields.items():
            field_definition = definition.field.add(
                name=field, number=number, label=3 if repeated else 1
            )
            field_definition.type = MESSAGE if isinstance(kind, str) else kind
            if isinstance(kind, str):
                field_definition.type_name = f".tf.{kind}"
            if kind == BOOL:  # TensorFlow's is one of several, so that false is written too
                field_definition.oneof_index, field_definition.proto3_optional = 0, True
                definition.oneof_decl.add(name="_value")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tf.{name}"))


def fill_tensor(proto: Any, array: np.ndarray, as_values: bool) -> None:
    """Fill a TensorProto; as_values: number by number, and equal ones at the end only once."""
    proto.dtype = DT_FLOAT if array.dtype == np.float32 else DT_INT32
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if not as_values:
        proto.tensor_content = array.tobytes()
        return
    values = array.ravel().tolist()
    while len(values) > 1 and values[-1] == values[-2]:
        values.pop()
    (proto.float_val if array.dtype == np.float32 else proto.int_val).extend(values)


def graph(
    constants: dict[str, np.ndarray],
    flags: dict[str, dict[str, bool]] | None = None,
    *,
    as_values: tuple[str, ...] = (),
) -> bytes:
    """Encode a GraphDef with these constants, and operations of these names with these flags.

    as_values: the ends of the names of constants that are written number by number.
    """
    graph_def = message_class("GraphDef")(version=8)
    graph_def.node.add(name="DecodeJpeg/contents", op="Placeholder")
    for name, array in constants.items():
        node = graph_def.node.add(name=name, op="Const")
        node.attr.add(key="dtype").value.type = DT_FLOAT
        fill_tensor(node.attr.add(key="value").value.tensor, array, name.endswith(as_values))
    for name, values in (flags or {}).items():
        node = graph_def.node.add(name=name, op="BatchNormWithGlobalNormalization", input=["x"])
        node.attr.add(key="variance_epsilon").value.f = 0.001
        for key, value in values.items():
            node.attr.add(key=key).value.b = value
    return graph_def.SerializeToString()
