"""TFRecords against other programs: tensorboard's writer, and Google's protocol buffers."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as other_checksum
from tensorboard.summary.writer.record_writer import RecordWriter

from raymetrics.errors import SourceError
from raymetrics.generators import open_source, skip_broken_images
from raymetrics.generators.image_datasets import tfrecords
from raymetrics.generators.image_datasets.crc32c import crc32c
from raymetrics.generators.image_datasets.file_access import DataLocation
from raymetrics.generators.image_datasets.tf_example import parse_example
from tests.helpers import dataset_makers
from tests.helpers.dataset_makers import make_pictures, png
from tests.helpers.tfrecord_files import example, field, nvidia_example, varint, write_records

CPU = torch.device("cpu")
PICTURES = list(make_pictures().values())
PIXELS = np.stack(PICTURES).transpose(0, 3, 1, 2)


def example_class() -> Any:
    """Return tf.train.Example, from the fields that TensorFlow's example.proto and feature.proto
    declare."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name: str, **fields: tuple[int, int, int, str]) -> Any:
        new = file.message_type.add(name=name)
        for field_name, (number, label, kind, of) in fields.items():
            new.field.add(
                name=field_name, number=number, label=label, type=kind, type_name=of or None
            )
        return new

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", value=(1, many, kinds.TYPE_BYTES, ""))
    message("FloatList", value=(1, many, kinds.TYPE_FLOAT, ""))
    message("Int64List", value=(1, many, kinds.TYPE_INT64, ""))
    lists = [("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List")]
    fields = {n: (i, one, kinds.TYPE_MESSAGE, f".t.{of}") for i, (n, of) in enumerate(lists, 1)}
    message("Feature", **fields)
    entry = descriptor_pb2.DescriptorProto(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=one, type=kinds.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=one, type=kinds.TYPE_MESSAGE, type_name=".t.Feature"
    )
    features = message(
        "Features", feature=(1, many, kinds.TYPE_MESSAGE, ".t.Features.FeatureEntry")
    )
    features.nested_type.append(entry)
    message("Example", features=(1, one, kinds.TYPE_MESSAGE, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


def pattern(size: int) -> bytes:
    """Return bytes that fold in several ways."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


Example = example_class()
VALUES = st.one_of(
    st.lists(st.binary(max_size=40)),
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.floats(width=32)),
)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=5))
def test_examples_are_parsed_as_by_protocol_buffers(features: dict[str, list]) -> None:
    message, expected = Example(), {}
    for name, values in features.items():
        kind = {bytes: "bytes_list", int: "int64_list"}.get(type(values[0]) if values else float)
        feature = message.features.feature[name]
        getattr(feature, kind or "float_list").value.extend(values)
        expected[name] = values if kind else None
    parsed = parse_example(message.SerializeToString())
    assert {n: v and [bytes(b) if isinstance(b, memoryview) else b for b in v]
            for n, v in parsed.items()} == expected  # fmt: skip
    assert parse_example(b"") == {}


def test_numbers_that_lie_in_a_field_each() -> None:
    """So older writers encode a list; a reader takes both."""
    numbers = field(3, b"".join(varint(1 << 3) + varint(n % 2**64) for n in (7, -1)))
    entry = field(1, field(1, b"n") + field(2, numbers))
    assert parse_example(field(1, entry)) == {"n": [7, -1]}


@settings(deadline=None, max_examples=60)
@given(st.one_of(st.binary(max_size=600), st.integers(0, 40_000).map(pattern)))
def test_checksums_equal_another_program_s(data: bytes) -> None:
    assert tfrecords.masked_crc32c(data) == other_checksum(data)
    assert tfrecords.masked_crc32c(memoryview(b"\0" + data)[1:]) == other_checksum(data)


def test_the_checksum_of_the_standard() -> None:
    """RFC 3720, appendix B.4: 32 bytes of zeros, of ones, ascending, descending."""
    texts = [bytes(32), b"\xff" * 32, bytes(range(32)), bytes(range(31, -1, -1))]
    assert [crc32c(text) for text in texts] == [0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0x113FDB5C]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=60), st.just(bytes(16))), max_size=90))
def test_frames_of_another_writer_are_found(records: list[bytes]) -> None:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for record in records:
        writer.write(record)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/frames.tfrecords", buffer.getvalue())
    starts = tfrecords.index_frames(DataLocation("memory://frames.tfrecords"), "")
    assert len(starts) == len(records) + 1
    found = [buffer.getvalue()[a + 12 : b - 4] for a, b in pairwise(starts)]
    assert found == records


def test_records_of_one_size_are_found_without_reading_all_lengths(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set.tfrecords", [nvidia_example(PICTURES[0])] * 500)
    location, requests = DataLocation(str(path)), []
    read = location.read
    location.read = lambda *place: requests.append(place) or read(*place)  # type: ignore[method-assign]
    location.open = None  # type: ignore[method-assign]
    starts = tfrecords.index_frames(location, "")
    assert len(starts) == 501
    assert len(requests) < 100
    data = bytearray(path.read_bytes())
    data[starts[57]] ^= 1  # which was not looked at
    path.write_bytes(data)
    dataset = open_source(str(path), CPU)
    assert dataset.length == 500
    with pytest.raises(SourceError, match=rf"/57: its record at byte {starts[57]} is damaged: the"):
        dataset(np.array([57]))


def test_resolutions_of_a_folder(tmp_path: Path) -> None:
    source = dataset_makers.tfrecords(tmp_path, make_pictures())
    largest, small = open_source(source, CPU), open_source(f"{source}?resolution=4", CPU)
    np.testing.assert_array_equal(largest(np.arange(6)), PIXELS)
    np.testing.assert_array_equal(small(np.arange(6)), PIXELS[:, :, ::2, ::2])
    assert largest.spec != small.spec
    assert small.spec == open_source(f"{source}?resolution=4", CPU).spec
    assert open_source(f"{source}?label=none", CPU).labels(np.arange(2)) is None
    with pytest.raises(SourceError, match="no files of the resolution '16'; expected one of 4, 8"):
        open_source(f"{source}?resolution=16", CPU)
    write_records(Path(source) / "more.tfrecords", [])
    with pytest.raises(SourceError, match=r"-r02.tfrecords, of one of .* and more.tfrecords; name"):
        open_source(source, CPU)


@pytest.mark.parametrize("key", ["image/encoded", "jpeg"])
def test_image_files_in_records(key: str, tmp_path: Path) -> None:
    for part in range(2):
        examples = [
            example({"n": [1, 2], "class": [7 * i], key: png(PICTURES[i])})
            for i in range(3 * part, 3 * part + 3)
        ]
        write_records(tmp_path / f"part-{part}.tfrecord", examples)
    choice = "" if key == "image/encoded" else f"image={key}"
    for name in ("", "/part-{0..1}.tfrecord"):
        words = "&".join(filter(None, [choice, "label=class"]))
        dataset = open_source(f"{tmp_path}{name}?{words}", CPU)
        np.testing.assert_array_equal(dataset(np.arange(6)), PIXELS)
        assert dataset.labels(np.arange(6)).tolist() == [0, 7, 14, 21, 28, 35]
        assert dataset.names[3] == "part-1.tfrecord/0"
    assert open_source(f"{tmp_path}?{choice}", CPU).labels(np.arange(6)) is None
    for words, what in (
        (f"image={key}&label={key}", f"the feature '{key}' of record 0 .* is no class"),
        (f"image={key}&label=n", "the feature 'n' of record 0 .* is no class, expected one whole"),
        ("image=x", f"have no feature 'x', but class, {key}, n; choose|, {key}, n"),
    ):
        with pytest.raises(SourceError, match=what):
            open_source(f"{tmp_path}?{words}", CPU)


def test_grey_pixels(tmp_path: Path) -> None:
    write_records(tmp_path / "grey.tfrecords", [nvidia_example(p[..., :1]) for p in PICTURES])
    images = open_source(f"{tmp_path}/grey.tfrecords", CPU)(np.arange(6))
    np.testing.assert_array_equal(images, PIXELS[:, :1].repeat(3, axis=1))


def test_a_damaged_record_is_named_and_left_out(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set.tfrecords", [nvidia_example(p) for p in PICTURES])
    data, size = bytearray(path.read_bytes()), len(path.read_bytes()) // 6
    for record in (0, 2):
        data[size * record + 40] ^= 1
    path.write_bytes(data)
    what = f"/2: its record at byte {2 * size} is damaged: its bytes have another checksum"
    with pytest.raises(SourceError, match=f"2 of 6 .*{what}; mend or remove"):
        open_source(str(path), CPU)(np.arange(6))
    mended, names = skip_broken_images(str(path), 2)
    assert names == ["0", "2"]
    np.testing.assert_array_equal(open_source(mended, CPU)(np.arange(4)), PIXELS[[1, 3, 4, 5]])


@pytest.mark.parametrize(
    ("shape", "count"), [([3, 4], 12), ([2, 4, 5], 40), ([3, 4, 5], 59), ([3, -4, -5], 60),
                         ([3, 2**31, 2**31], 60), ([], 0)],
)  # fmt: skip
def test_shapes_that_the_pixels_do_not_have(shape: list[int], count: int, tmp_path: Path) -> None:
    record = example({"shape": shape, "data": bytes(count)})
    write_records(tmp_path / "set.tfrecords", [nvidia_example(PICTURES[0]), record])
    with pytest.raises(SourceError, match=r"/1: it(s shape is| has \d+ bytes of pixels for the)"):
        open_source(f"{tmp_path}/set.tfrecords", CPU)(np.arange(2))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda data: b"", "no records in"),
        (lambda data: data[:7], "ends inside of the length of the record at byte 0; was it copied"),
        (lambda data: data[:-1], "1 bytes of the record at byte .* lie beyond its end; was it"),
        (lambda data: b"\x1f\x8b" + data[2:], "the length of the record at byte 0 has another"),
        (lambda data: data + b"x", "it ends inside of the length of the record at byte"),
    ],
)
def test_files_that_are_not_whole(change: Any, what: str, tmp_path: Path) -> None:
    path = write_records(tmp_path / "set.tfrecords", map(nvidia_example, PICTURES))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(SourceError, match=rf"(set.tfrecords is no whole.*: .*)?{what}") as error:
        open_source(str(path), CPU)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_length_is_not_believed(tmp_path: Path) -> None:
    """A header with a right checksum may still announce more than there is."""
    header = (2**62).to_bytes(8, "little")
    data = header + other_checksum(header).to_bytes(4, "little") + bytes(100)
    (tmp_path / "set.tfrecords").write_bytes(data)
    with pytest.raises(SourceError, match="bytes of the record at byte 0 lie beyond its end"):
        open_source(f"{tmp_path}/set.tfrecords", CPU)


@pytest.mark.parametrize(
    "message", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x80" * 11, b"\x0a\x05"]
)
def test_records_that_are_no_examples(message: bytes, tmp_path: Path) -> None:
    path = write_records(tmp_path / "set.tfrecords", [message])
    with pytest.raises(SourceError, match=r"none of the first 1 records of .*: its record at byte"):
        open_source(str(path), CPU)
    nothing = write_records(tmp_path / "other.tfrecords", [example({"text": b"x"})])
    with pytest.raises(SourceError, match="have no feature 'image/encoded', but text; choose"):
        open_source(str(nothing), CPU)


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        (np.zeros((5, 2), "f4"), r"it is \[5, 2\], expected \[6, classes\]"),
        (np.zeros((6, 2), "f4"), "its rows are not those of classes"),
        (np.ones((6, 2), "f4"), "its rows are not those of classes"),
        (np.full((6, 1), "x"), "it is <U1, expected numbers"),
    ],
)
def test_labels_that_are_no_classes(rows: np.ndarray, what: str, tmp_path: Path) -> None:
    source = dataset_makers.tfrecords(tmp_path, make_pictures())
    with (Path(source) / "faces-rxx.labels").open("wb") as file:
        np.save(file, rows)
    with pytest.raises(
        SourceError, match=rf"faces-rxx.labels holds no labels: {what}.*\?label=none"
    ):
        open_source(source, CPU)
    with (Path(source) / "faces-rxx.labels").open("wb") as file:
        np.save(file, np.zeros((6, 0), "f4"))
    assert open_source(source, CPU).labels(np.arange(6)) is None
