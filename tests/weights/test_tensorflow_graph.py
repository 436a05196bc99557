"""The reader of frozen graphs against Google's encoder, and against damage."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from raymetrics.errors import ExtractorError
from raymetrics.weights.tensorflow_graph import MAX_REPEATED_VALUES, read_graph
from tests.helpers.tensorflow_graphs import graph, message_class

CONSTANTS = {
    "conv/conv2d_params": np.random.default_rng(0).standard_normal((3, 1, 2, 5)).astype("f4"),
    "conv/batchnorm/gamma": np.ones(7, np.float32),
    "pool/mean": np.array([0.5, -1, 2, 2, 2], np.float32),
    "Mul/y": np.array(0.0078125, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}
SIZE = {"ResizeBilinear/size": np.array([299, 299], np.int32)}


@pytest.mark.parametrize("as_values", [(), ("gamma", "mean", "y", "params", "size")])
def test_constants_are_read_as_they_were_written(as_values) -> None:
    nodes = read_graph(graph(CONSTANTS | SIZE, as_values=as_values), "made here")
    for name, array in CONSTANTS.items():
        value = nodes[name].attributes["value"]
        assert nodes[name].operation == "Const"
        assert (value.dtype, value.shape) == (np.float32, array.shape)
        np.testing.assert_array_equal(value, array)
    assert nodes["DecodeJpeg/contents"].operation == "Placeholder"
    assert "value" not in nodes["ResizeBilinear/size"].attributes  # holds no floats


@pytest.mark.parametrize("scaled", [True, False])
def test_flags_and_numbers_of_operations(scaled) -> None:
    flags = {"conv/batchnorm": {"scale_after_normalization": scaled}}
    node = read_graph(graph({}, flags), "made here")["conv/batchnorm"]
    assert node.operation == "BatchNormWithGlobalNormalization"
    assert node.attributes["scale_after_normalization"] is scaled
    assert node.attributes["variance_epsilon"] == np.float32(0.001)


def test_values_that_are_not_packed() -> None:
    """As old encoders wrote them: field 5 of wire type 5, once for every number."""
    values = b"".join(b"\x2d" + np.float32(x).tobytes() for x in (1, 2, 3))
    tensor = message_class("TensorProto")(dtype=1)
    tensor.tensor_shape.dim.add(size=4)
    tensor = tensor.SerializeToString() + values
    data = b""
    for key, part in ((0x42, tensor), (0x12, None), (0x2A, None), (0x0A, None)):
        data = bytes([key, len(part or data)]) + (part or data)
        if key == 0x12:  # the value of an entry goes with its key, the entry with its name
            data = b"\x0a\x05value" + data
    (node,) = read_graph(data, "made here").values()
    np.testing.assert_array_equal(node.attributes["value"], [1, 2, 3, 3])


def test_a_cut_graph_is_refused_unless_it_ends_with_a_node() -> None:
    data = graph(CONSTANTS, as_values=("gamma",))
    whole = list(read_graph(data, "made here"))
    read = []
    for length in range(len(data)):
        with contextlib.suppress(ExtractorError):
            read.append(list(read_graph(data[:length], "cut")))
    assert read == [whole[:count] for count in range(len(whole) + 1)]


def test_changed_bytes_raise_nothing_else(rng) -> None:
    data = bytearray(graph({name: CONSTANTS[name] for name in ("pool/mean", "Mul/y")}))
    for _ in range(2000):
        changed = data.copy()
        for place in rng.integers(0, len(data), 3):
            changed[place] = rng.integers(256)
        with contextlib.suppress(ExtractorError):
            read_graph(bytes(changed), "changed")


@pytest.mark.parametrize(
    ("shape", "values", "content"),
    [((MAX_REPEATED_VALUES, 2), [1.0], b""),
     ((1 << 30, 1 << 30), [1.0], b""), ((3,), [], b"12345678"),
     ((2,), [1.0, 2.0, 3.0], b""), ((2,), [], b"")],
)  # fmt: skip
def test_sizes_that_cannot_be(shape, values, content) -> None:
    made = message_class("GraphDef")()
    tensor = made.node.add(name="x", op="Const").attr.add(key="value").value.tensor
    tensor.dtype, tensor.tensor_content = 1, content
    tensor.float_val.extend(values)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(ExtractorError, match="bytes for a tensor float32"):
        read_graph(made.SerializeToString(), "made here")


@pytest.mark.parametrize("data", [b"no graph at all", b"<!DOCTYPE html>", b"\x0a" + b"\xff" * 20])
def test_other_files(data) -> None:
    with pytest.raises(ExtractorError, match="page.pb is no TensorFlow graph"):
        read_graph(data, "page.pb")


def test_what_a_graph_repeats_has_a_limit_in_all() -> None:
    made = message_class("GraphDef")()
    for name in ("x", "y", "z"):
        tensor = made.node.add(name=name, op="Const").attr.add(key="value").value.tensor
        tensor.dtype = 1
        tensor.float_val.append(1.0)
        tensor.tensor_shape.dim.add(size=MAX_REPEATED_VALUES // 2)
    with pytest.raises(ExtractorError, match="4 bytes for a tensor float32"):
        read_graph(made.SerializeToString(), "made here")


def test_a_tensor_of_very_many_dimensions() -> None:
    made = message_class("GraphDef")()
    tensor = made.node.add(name="x", op="Const").attr.add(key="value").value.tensor
    for _ in range(1000):
        tensor.tensor_shape.dim.add(size=2**30)
    with pytest.raises(ExtractorError, match="a tensor of 1000 dimensions"):
        read_graph(made.SerializeToString(), "made here")
