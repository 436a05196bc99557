"""Open TFRecords of images as a data set: one file, a pattern, or a folder of files.

A record is a `tf.train.Example`. In the layout of NVIDIA's dataset_tool.py, `data` are the pixels
and `shape` is [channels, height, width]; otherwise `image/encoded` (or `image=FEATURE`) is an image
file. The order is that of the files' paths, then of their records.

NVIDIA's folders hold the images in every resolution, `name-r02.tfrecords` to `name-r10.tfrecords`:
the largest is taken, or that of `resolution=256`. Their classes are in `name-rxx.labels`, one
number of each row is 1. Otherwise `label=FEATURE` is the class, a whole number; all records are
then read at the start. `label=none` reads no classes.

The lengths of all records are read once, and each image from its position. Both have checksums,
and those of an image are checked whenever it is read.
"""

from __future__ import annotations

import bisect
import io
import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets.crc32c import crc32c
from raymetrics.generators.image_datasets.decode import MAX_PIXELS, BrokenImage
from raymetrics.generators.image_datasets.file_access import COPY_HINT, DataLocation
from raymetrics.generators.image_datasets.image_list import (
    ImageList,
    require_encoded_size,
    require_label_bytes,
)
from raymetrics.generators.image_datasets.tf_example import Feature, parse_example
from raymetrics.printable import escape_unprintable
from raymetrics.safe_archives.damage import require_undamaged
from raymetrics.safe_archives.npy_headers import read_npy_header

ENDINGS = (".tfrecords", ".tfrecord")
_LABELS_ENDING = ".labels"
_RESOLUTION = re.compile(r"-r(\d\d)\.tfrecords$")
_ENCODED = "image/encoded"
# A frame is the length and its checksum, the record, and the checksum of the record.
_HEADER, _SUM = struct.Struct("<QI"), struct.Struct("<I")
_FRAME_BYTES = _HEADER.size + _SUM.size
_READ_AHEAD_BYTES = 2**16  # fetched at a time while the lengths in a remote file are read
_SAMPLED_FRAMES = 64  # lengths that are compared before all are taken for equal
_MAX_TRIES = 100  # records in which features are looked for
_MAX_NAMES = 300  # characters of the names of features, in an error

Parse = Callable[[Mapping[str, Feature]], bytes | np.ndarray]


@dataclass(frozen=True)
class _RecordFile:
    """The records of a file: the index in the set of the first, and the byte of each frame."""

    file: str
    first: int
    starts: np.ndarray  # int64 [n + 1]; the last is the file's size

    def __len__(self) -> int:
        return len(self.starts) - 1


def open_tfrecords(
    location: DataLocation,
    resolution: str | None = None,
    image: str | None = None,
    label: str | None = None,
) -> ImageList:
    """List the images in TFRecords.

    Raises SourceError for damaged files, for files without images, and for features or labels that
    are missing or of another type.
    """
    files = _choose_files(location, resolution)
    tables: list[_RecordFile] = []
    names: list[str] = []
    for file in files:
        tables.append(_RecordFile(file, len(names), index_frames(location, file)))
        names += [f"{file}/{row}" if file else str(row) for row in range(len(tables[-1]))]
    if not names:
        raise SourceError(f"no records in {location.uri}")

    def read_example(index: int) -> dict[str, Feature]:
        table = tables[bisect.bisect_right(tables, index, key=lambda t: t.first) - 1]
        return _read_example(location, table, index - table.first)

    first = _first_intact(read_example, len(names), location.uri)
    parse = _choose_parser(first, image, location.uri)
    labels, labels_file = _read_labels(location, label, names, read_example)
    given = {"resolution": resolution, "image": image, "label": label}
    options = {name: value for name, value in given.items() if value is not None}
    return ImageList(
        "tfrecords",
        location,
        {**files, **labels_file},
        names,
        labels,
        lambda index: parse(read_example(index)),
        options,
    )


def _choose_files(location: DataLocation, resolution: str | None) -> dict[str, int]:
    """Return the files of the wanted resolution, by default the largest, with their sizes.

    Files whose names have no resolution are all taken. Raises SourceError for a mixture of both,
    and for a resolution that is not there.
    """
    files = {name: n for name, n in location.files.items() if not name or name.endswith(ENDINGS)}
    found = {name: _RESOLUTION.search(name) for name in files}
    sides = {name: 2 ** int(match[1]) for name, match in found.items() if match}
    if sides and len(sides) < len(files):
        plain = min(files.keys() - sides.keys())
        raise SourceError(
            f"{location.uri} holds {min(sides)}, of one of several resolutions, and {plain}; name "
            "a folder of one kind"
        )
    known = sorted({str(side) for side in sides.values()}, key=int)
    if resolution is not None and resolution not in known:
        raise SourceError(
            f"{location.uri} has no files of the resolution {resolution!r}; expected one of "
            f"{', '.join(known) or 'none, as the names of its files do not end in -rNN.tfrecords'}"
        )
    wanted = int(resolution or max(sides.values(), default=0))
    return {name: n for name, n in files.items() if not sides or sides[name] == wanted}


def index_frames(location: DataLocation, file: str) -> np.ndarray:
    """Return the byte at which each record's frame begins, and the file's size, int64 [n + 1].

    Raises SourceError at the first length that is damaged or leads beyond the file.
    """
    where, size = location.display_path(file), location.files[file]
    with require_undamaged(SourceError, f"{where} is no whole file of TFRecords", COPY_HINT):
        equal = _index_equal_frames(location, file, size)
        if equal is not None:
            return equal
        starts = [0]
        with location.open(file, _READ_AHEAD_BYTES) as opened:
            while starts[-1] < size:
                opened.seek(starts[-1])
                starts.append(_frame_end(opened.read(_HEADER.size), starts[-1], size))
        return np.array(starts, np.int64)


def _index_equal_frames(location: DataLocation, file: str, size: int) -> np.ndarray | None:
    """Return the frames of a file whose records have all one size; None for other files.

    So are files of pixels, and reading each length would take a request for each image. If a length
    that is not looked at here is another one, reading the record will fail.
    """
    if size == 0:
        return None
    header = location.read(file, 0, _HEADER.size)
    end = _frame_end(header, 0, size)
    if size % end:
        return None
    starts = np.arange(0, size + 1, end, dtype=np.int64)
    count = len(starts) - 1
    sampled = np.linspace(1, count - 1, min(_SAMPLED_FRAMES, count - 1)).astype(int)
    others = (location.read(file, start, start + _HEADER.size) for start in starts[sampled])
    return starts if all(other == header for other in others) else None


def _frame_end(header: bytes, start: int, size: int) -> int:
    """Return the byte after a frame that begins with a header; ValueError if it is damaged."""
    length = _parse_length(header, start)
    end = start + length + _FRAME_BYTES
    if end > size:
        raise ValueError(f"{end - size} bytes of the record at byte {start} lie beyond its end")
    return end


def _parse_length(header: bytes, start: int) -> int:
    """Return the length in a header; raise ValueError unless its checksum is right."""
    if len(header) < _HEADER.size:
        raise ValueError(f"it ends inside of the length of the record at byte {start}")
    length, stated = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != stated:
        raise ValueError(f"the length of the record at byte {start} has another checksum")
    return int(length)


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the checksum of TFRecords: CRC-32C, rotated by 15 bits, plus a constant."""
    checksum = crc32c(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _read_example(location: DataLocation, table: _RecordFile, row: int) -> dict[str, Feature]:
    """Read the features of a record; raise BrokenImage if the record is damaged."""
    start, end = (int(place) for place in table.starts[row : row + 2])
    require_encoded_size(end - start)
    frame = memoryview(location.read(table.file, start, end))
    with require_undamaged(BrokenImage, f"its record at byte {start} is damaged"):
        length = _parse_length(bytes(frame[: _HEADER.size]), start)
        if len(frame) != end - start or length != end - start - _FRAME_BYTES:
            raise ValueError(f"it has {length} bytes, {end - start - _FRAME_BYTES} are expected")
        record = frame[_HEADER.size : -_SUM.size]
        if (masked_crc32c(record),) != _SUM.unpack(frame[-_SUM.size :]):
            raise ValueError("its bytes have another checksum")
        return parse_example(record)


def _first_intact(
    read_example: Callable[[int], dict[str, Feature]], count: int, where: str
) -> dict[str, Feature]:
    """Return the features of the first record that is not damaged.

    Raises SourceError if the first few are all damaged.
    """
    reasons = []
    for index in range(min(count, _MAX_TRIES)):
        try:
            return read_example(index)
        except BrokenImage as error:
            reasons.append(error.message)
    raise SourceError(
        f"none of the first {len(reasons)} records of {where} can be read: {reasons[0]}; "
        f"{COPY_HINT}"
    )


def _choose_parser(first: Mapping[str, Feature], image: str | None, where: str) -> Parse:
    """Return what takes the image from a record's features, by the features of the first record.

    Raises SourceError if they hold no image.
    """
    if image is None and {"data", "shape"} <= first.keys():
        return _take_pixels
    name = _ENCODED if image is None else image
    if name not in first:
        raise SourceError(
            f"the records of {where} have no feature {name!r}, but {_list_names(first)}; choose "
            "the one that holds image files with ?image="
        )
    return lambda features: _take_file(features, name)


def _take_file(features: Mapping[str, Feature], name: str) -> bytes:
    """Return the image file in a feature; raise BrokenImage unless it holds one value of bytes."""
    value = features.get(name)
    if not value or len(value) != 1 or not isinstance(value[0], memoryview):
        raise BrokenImage(f"its feature {name!r} is not the bytes of one image file")
    return bytes(value[0])


def _take_pixels(features: Mapping[str, Feature]) -> np.ndarray:
    """Return the pixels in NVIDIA's layout, uint8 [h, w, 3]; grey images get three channels.

    Raises BrokenImage for other shapes, and for another number of bytes.
    """
    data, shape = _take_file(features, "data"), features.get("shape") or []
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) != 3 or sizes[0] not in (1, 3) or min(sizes) < 1:
        raise BrokenImage(f"its shape is {sizes[:4]}, expected [3, height, width] or [1, ...]")
    if sizes[1] * sizes[2] > MAX_PIXELS or len(data) != math.prod(sizes):
        raise BrokenImage(f"it has {len(data)} bytes of pixels for the shape {sizes}")
    pixels = np.frombuffer(data, np.uint8).reshape(sizes).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*sizes[1:], 3)))


def _read_labels(
    location: DataLocation,
    label: str | None,
    names: list[str],
    read_example: Callable[[int], Mapping[str, Feature]],
) -> tuple[list[int | None], dict[str, int]]:
    """Return the class of each image, or None, and the file of the classes with its size.

    Raises SourceError for classes that are missing or are no whole numbers.
    """
    files = [name for name in location.files if name.endswith(_LABELS_ENDING)]
    if label == "none" or (label is None and not files):
        return [None] * len(names), {}
    if label is not None:
        take = partial(_take_class, read_example, label, location.uri)
        return [take(index) for index in range(len(names))], {}
    if len(files) > 1:
        raise SourceError(f"{location.uri} holds {' and '.join(files[:2])}; leave one of them")
    size = location.files[files[0]]
    where = location.display_path(files[0])
    require_label_bytes(size, names, where)
    return _parse_one_hot(location.read(files[0]), len(names), where), {files[0]: size}


def _take_class(
    read_example: Callable[[int], Mapping[str, Feature]], label: str, where: str, index: int
) -> int | None:
    """Return the class in a feature of a record; None for a damaged record, which has no image.

    Raises SourceError unless it is one whole number.
    """
    try:
        features = read_example(index)
    except BrokenImage:
        return None
    value = features.get(label)
    if not value or len(value) != 1 or not isinstance(value[0], int):
        raise SourceError(
            f"the feature {label!r} of record {index} of {where} is no class, expected one whole "
            f"number; its features are {_list_names(features)}"
        )
    return value[0]


def _list_names(features: Mapping[str, Feature]) -> str:
    """Return the names of features, for an error."""
    return escape_unprintable(", ".join(sorted(features)) or "none", _MAX_NAMES)


def _parse_one_hot(data: bytes, count: int, where: str) -> list[int | None]:
    """Parse an array of numpy [count, classes] of which one number in each row is 1, the others 0.

    An array of no classes gives None for each image. Raises SourceError for anything else.
    """
    remedy = "leave the labels out with ?label=none"
    with require_undamaged(SourceError, f"{where} holds no labels", remedy):
        header = read_npy_header(io.BytesIO(data))
        shape = header.shape
        if len(shape) != 2 or shape[0] != count or header.columns_first:
            raise ValueError(f"it is {list(shape)}, expected [{count}, classes]")
        if header.dtype.kind not in "fiub":
            raise ValueError(f"it is {header.dtype}, expected numbers")
        if shape[1] == 0:
            return [None] * count
        rows = np.frombuffer(data, header.dtype, offset=header.start).reshape(shape)
        ones = rows == 1
        if not ((ones.sum(axis=1) == 1).all() and (rows[~ones] == 0).all()):
            raise ValueError("its rows are not those of classes, a single 1 and else 0")
        classes: list[int | None] = ones.argmax(axis=1).tolist()
        return classes
