"""TFRecords for tests, written without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from raymetrics.generators.image_datasets.tfrecords import masked_crc32c


def varint(value: int) -> bytes:
    """Encode a number in groups of seven bits."""
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


def field(number: int, content: bytes) -> bytes:
    """Encode a field that holds bytes or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(features: dict[str, bytes | list[int]]) -> bytes:
    """Encode a tf.train.Example of single bytes and of lists of numbers."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = field(1, field(1, value))
        else:
            feature = field(3, field(1, b"".join(varint(n % 2**64) for n in value)))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    return field(1, entries)


def nvidia_example(pixels: np.ndarray) -> bytes:
    """Encode pixels uint8 [h, w, c] as NVIDIA's dataset_tool.py does."""
    planes = pixels.transpose(2, 0, 1)
    return example({"shape": list(planes.shape), "data": planes.tobytes()})


def frame(record: bytes) -> bytes:
    """Return a record with its length and checksums."""
    length = struct.pack("<Q", len(record))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, record)]
    return length + sums[0] + record + sums[1]


def write_records(path: Path, records: Iterable[bytes]) -> Path:
    """Write a file of records."""
    path.write_bytes(b"".join(map(frame, records)))
    return path
