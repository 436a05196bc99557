"""Damaged copies of small files, read in a process of their own whose memory is bounded.

    python -m tests.helpers.damaged_files FOLDER COUNT SEED FORMAT...

makes COUNT damaged copies of a file of every format by chance, or for COUNT 0 one for every byte,
and prints a line for each that raised anything but an error of ours; at last "done". The copy that
is being read lies in FOLDER, also after a crash.
"""

from __future__ import annotations

import json
import re
import resource
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics.errors import RaymetricsError
from raymetrics.generators.image_datasets import open_dataset
from raymetrics.shards.foreign import read_statistics
from raymetrics.weights.tensorflow_graph import read_graph
from tests.helpers import dataset_makers
from tests.helpers.tensorflow_graphs import graph
from tests.helpers.tfrecord_files import nvidia_example, write_records

ROOM = 2**30  # bytes that may be taken beside what the libraries take when they are loaded
NUMBERS = [0, 1, -1, -512, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1]
TEXTS = [b"-1", b"0", b"1e400", b"true", b"null", b"1.5", b'"x"', b"9" * 20, b"9" * 5000,
         b"[" * 3000, b"(" * 300, b"18446744073709551615", b"4294967295", b"'", b"\0"]  # fmt: skip
# Where numbers of headers lie, by what is written before them.
MARKS = {"zip": rb"PK[\1-\6]{2}", "npz": rb"PK[\1-\6]{2}|NUMPY", "packed": rb"PK[\1-\6]{2}",
         "npy": rb"NUMPY", "tar": rb"ustar"}  # fmt: skip

FOOTER = 1800  # bytes of the Parquet file that is damaged

Damage = Callable[[np.random.Generator, bytearray, str], bytes]


def flip_bytes(rng: np.random.Generator, data: bytearray, kind: str) -> bytes:
    """Change one to four bytes."""
    for position in rng.integers(0, len(data), rng.integers(1, 5)):
        data[position] ^= int(rng.integers(1, 256))
    return bytes(data)


def cut_end(rng: np.random.Generator, data: bytearray, kind: str) -> bytes:
    """Cut the end off."""
    return bytes(data[: rng.integers(0, len(data))])


def move_piece(rng: np.random.Generator, data: bytearray, kind: str) -> bytes:
    """Remove or repeat a piece."""
    start, stop = sorted(rng.integers(0, len(data), 2))
    piece = data[start:stop]
    return bytes(data[:start] + (piece * 2 if rng.random() < 0.5 else b"") + data[stop:])


def change_number(rng: np.random.Generator, data: bytearray, kind: str) -> bytes:
    """Change a number of a header."""
    position = _header_position(rng, data, kind)
    width = rng.choice(["b", "h", "i", "q"])
    value = int(rng.choice(NUMBERS)) & (256 ** struct.calcsize(width) - 1)
    piece = struct.pack(rng.choice(["<", ">"]) + width.upper(), value)
    data[position : position + len(piece)] = piece
    return bytes(data)


def _header_position(rng: np.random.Generator, data: bytearray, kind: str) -> int:
    """Choose a position in a header: after a mark, or in the footer of Parquet."""
    if kind == "parquet":
        return int(len(data) - 1 - rng.integers(0, min(FOOTER, len(data))))
    offsets = [m.start() for m in re.finditer(MARKS.get(kind, rb""), data)] or [0]
    return min(int(rng.choice(offsets) + rng.integers(0, 64)), len(data) - 1)


def change_digits(rng: np.random.Generator, data: bytearray, kind: str) -> bytes:
    """Change a number that is written in digits, or make it no number."""
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return flip_bytes(rng, data, kind)
    chosen = numbers[rng.integers(len(numbers))]
    data[chosen.start() : chosen.end()] = TEXTS[rng.integers(len(TEXTS))]
    return bytes(data)


def change_tar_field(rng: np.random.Generator, data: bytearray, kind: str) -> bytes:
    """Change a field of a tar's header, and correct the checksum."""
    starts = [m.start() - 257 for m in re.finditer(b"ustar", data)]
    start = int(rng.choice(starts or [0]))
    begin, size = [(100, 8), (124, 12), (136, 12), (156, 1), (0, 100), (345, 155)][rng.integers(6)]
    if rng.random() < 0.5:  # the binary form of long numbers
        value = int(rng.choice(NUMBERS))
        data[start + begin : start + begin + size] = value.to_bytes(12, "big", signed=True)[-size:]
        if size == 12:
            data[start + begin] = 0xFF if value < 0 else 0x80
    else:
        data[start + begin : start + begin + size] = (
            rng.choice(list(b"\x0001237xgKLSXAV5"), size).astype(np.uint8).tobytes()
        )
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return bytes(data)


DAMAGES: list[Damage] = [flip_bytes, cut_end, move_piece, change_number, change_digits]


def damage_copy(rng: np.random.Generator, data: bytes, kind: str) -> bytes:
    """Return a copy with one or two kinds of damage."""
    kinds = [*DAMAGES, change_tar_field, change_tar_field] if kind == "tar" else DAMAGES
    for _ in range(rng.integers(1, 3)):
        if data:
            data = kinds[rng.integers(len(kinds))](rng, bytearray(data), kind)
    return data


def read_images(path: Path) -> None:
    """Do everything with a data set that a command does, without its broken images."""
    dataset = open_dataset(str(path))
    names = list(dataset.find_broken())
    ids = np.array([k for k in range(min(dataset.length, 100)) if dataset.names[k] not in names])
    dataset.labels(ids)
    assert dataset.label_names is not None
    dataset(ids)


def _small_parquet(to: Path) -> Path:
    """Write a Parquet file of little but a footer with statistics, few enough to try all bytes."""
    table = pa.table(
        {"image": [dataset_makers.png(p) for p in dataset_makers.make_pictures(2).values()]}
    )
    pq.write_table(table, to / "small.parquet", store_schema=False)
    return to / "small.parquet"


def _tfrecords(to: Path) -> Path:
    examples = [nvidia_example(p) for p in dataset_makers.make_pictures().values()]
    return write_records(to / "set.tfrecords", examples)


def _graph(to: Path) -> Path:
    constants = {"a": np.arange(12, dtype="f4").reshape(3, 4), "b": np.full(50, 2, "f4")}
    (to / "graph.pb").write_bytes(graph(constants, as_values=("b",)))
    return to / "graph.pb"


def _statistics(to: Path) -> Path:
    np.savez(to / "fid.npz", mu=np.zeros(3), sigma=np.eye(3))
    return to / "fid.npz"


def _labels(to: Path) -> Path:
    folder = Path(dataset_makers.folder(to, dataset_makers.make_pictures()))
    listed = [[name, 7] for name in dataset_makers.make_pictures()]
    (folder / "dataset.json").write_text(json.dumps({"labels": listed}) + " " * 600)
    return folder / "dataset.json"


def _dataset(write: dataset_makers.Writer) -> Callable[[Path], Path]:
    return lambda to: Path(write(to, dataset_makers.make_pictures()))


# Of every format: what writes a small file into a folder, and what reads it.
FORMATS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "zip": (_dataset(dataset_makers.nvidia_zip), read_images),
    "tar": (_dataset(dataset_makers.tar), read_images),
    "npz": (_dataset(dataset_makers.npz), read_images),
    "packed": (_dataset(dataset_makers.packed_npz), read_images),
    "npy": (_dataset(dataset_makers.npy), read_images),
    "parquet": (_dataset(dataset_makers.parquet), read_images),
    "tfrecords": (_tfrecords, read_images),
    "small parquet": (_small_parquet, read_images),
    "labels": (_labels, lambda path: read_images(path.parent)),
    "graph": (_graph, lambda path: read_graph(path.read_bytes(), str(path))),
    "statistics": (_statistics, lambda path: read_statistics(str(path))),
}


EVERY_BYTE = ("small parquet",)


def damaged_copies(whole: bytes, kind: str, count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged copies: `count` random ones, or one for every byte."""
    if not count or kind in EVERY_BYTE:
        for i in range(len(whole)):
            yield whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :]
    for i in range(count):
        yield damage_copy(np.random.default_rng([seed, i]), whole, kind)


def find_problem(read: Callable[[Path], object], path: Path) -> str | None:
    """Describe an error that is not raymetrics' own in one line, or that names no file."""
    try:
        read(path)
    except RaymetricsError as error:
        names_place = str(path.parent) in str(error) and "\n" not in str(error)
        return None if names_place else f"message: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(folder: Path, count: int, seed: int, kinds: list[str]) -> None:
    files = {}
    for kind in kinds:
        (folder / kind).mkdir()
        write, read = FORMATS[kind]
        files[kind] = write(folder / kind)
        read(files[kind])
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, taken + ROOM))
    warnings.simplefilter("ignore")
    for kind, path in files.items():
        whole = path.read_bytes()
        for i, copy in enumerate(damaged_copies(whole, kind, count, seed)):
            path.write_bytes(copy)
            if problem := find_problem(FORMATS[kind][1], path):
                print(json.dumps([kind, i, problem]), flush=True)
    print("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
