"""Damage to one image is told of that image, damage to a whole file in one line, and no header is
believed before memory is taken."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fsspec.implementations.memory import MemoryFile

from raymetrics.distributed.extraction.generate import generate_samples
from raymetrics.errors import InsufficientResources, SourceError, StorageError
from raymetrics.generators import open_source, skip_broken_images
from raymetrics.generators.image_datasets.file_access import MAX_FILES, DataLocation, expand_pattern
from raymetrics.generators.image_datasets.image_list import MANY_IMAGES
from raymetrics.generators.image_datasets.parquet import RowGroup, image_cells
from tests.helpers import dataset_makers
from tests.helpers.dataset_makers import make_pictures, png, write_files, write_tar, write_zip

CPU = torch.device("cpu")
PICTURES = make_pictures()
PNG = png(PICTURES["a/0.png"])
Change = Callable[[bytearray, int], None]


def change_member(path: Path, name: bytes, change: Change) -> None:
    """Change a zip at the entry of a member in its table of contents."""
    data = bytearray(path.read_bytes())
    change(data, data.rfind(name) - 46)
    path.write_bytes(data)


ZIP_DAMAGES: dict[str, Change] = {
    "places before the file": lambda data, at: struct.pack_into("<I", data, at + 42, 2**32 - 9),
    "a method that is not known": lambda data, at: struct.pack_into("<H", data, at + 10, 77),
    "a place in another image": lambda data, at: struct.pack_into("<I", data, at + 42, 7),
    "another sum": lambda data, at: struct.pack_into("<I", data, at + 16, 1),
    "no bytes": lambda data, at: struct.pack_into("<I", data, at + 20, 0),
}


@pytest.mark.parametrize("what", ZIP_DAMAGES)
def test_one_damaged_image_of_a_zip_is_named_and_left_out(what: str, tmp_path: Path) -> None:
    source = dataset_makers.zip_file(tmp_path, PICTURES)
    change_member(Path(source), b"b/3.png", ZIP_DAMAGES[what])
    with pytest.raises(SourceError, match=r"cannot read 1 of 6 images: .*b/3\.png: it cannot be"):
        open_source(source, CPU)(np.arange(6))
    mended, names = skip_broken_images(source, 1)
    assert names == ["b/3.png"]
    assert len(open_source(mended, CPU)(np.arange(5))) == 5


def test_what_a_generator_cannot_give_is_one_sample_of_a_unit(tmp_path: Path) -> None:
    source = dataset_makers.zip_file(tmp_path, PICTURES)
    change_member(Path(source), b"b/3.png", ZIP_DAMAGES["places before the file"])
    samples = generate_samples(open_source(source, CPU), np.arange(6))
    assert list(samples.left_out) == [4]
    assert "b/3.png: it cannot be unpacked" in samples.left_out[4]
    assert samples.sample_ids.tolist() == [0, 1, 2, 3, 5]


def test_a_damaged_row_group_is_named_for_each_of_its_images(tmp_path: Path) -> None:
    source = dataset_makers.parquet(tmp_path, PICTURES)
    data = bytearray(Path(source).read_bytes())
    at = pq.read_metadata(source).row_group(1).column(0).dictionary_page_offset
    data[at : at + 10] = b"\xff" * 10
    Path(source).write_bytes(data)
    mended, names = skip_broken_images(source, 2)
    assert names == ["4", "5"]
    assert len(open_source(mended, CPU)(np.arange(4))) == 4
    with pytest.raises(SourceError, match=r"set\.parquet/4: its row group 1 cannot be read: "):
        open_source(source, CPU)(np.arange(6))


@pytest.mark.parametrize("name", [b"set.zip", b"set.npz"])
def test_a_store_that_fails_is_no_damage(name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fsspec.filesystem("memory")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("0.png", PNG)
    memory.pipe_file(f"/damaged/{name.decode()}", buffer.getvalue())
    dataset = open_source("memory://damaged/set.zip", CPU) if name == b"set.zip" else None

    def fail(self: object, *_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(MemoryFile, "read", fail, raising=False)
    with pytest.raises(StorageError, match=r"cannot read memory://damaged/set\.\w+: Input/output"):
        dataset.find_broken() if dataset else open_source("memory://damaged/set.npz", CPU)
    memory.rm("/damaged", recursive=True)


def test_a_zip_of_a_later_version_or_with_a_member_without_a_name(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "set.zip", {"0.png": PNG})
    change_member(file, b"0.png", lambda data, at: struct.pack_into("<H", data, at + 6, 99))
    with pytest.raises(SourceError, match="is no whole zip file: zip file version 9.9; was it"):
        open_source(str(file), CPU)
    nameless = write_zip(tmp_path / "nameless.zip", {"n": b"", "0.png": PNG})
    nameless.write_bytes(nameless.read_bytes().replace(b"n", b"\0"))
    with pytest.raises(SourceError, match="in .* has no name; expected a plain zip of images"):
        open_source(str(nameless), CPU)


def test_a_small_part_of_a_zip_does_not_fill_the_memory(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "bomb.zip", {"0.png": bytes(2**26 + 1), "1.png": PNG})
    with pytest.raises(SourceError, match=r"0\.png: it cannot be unpacked: \d+ bytes would become"):
        open_source(str(file), CPU)(np.arange(2))
    labels = write_zip(tmp_path / "b.zip", {"dataset.json": bytes(2**26 + 2**20), "1.png": PNG})
    with pytest.raises(SourceError, match=r"dataset\.json in .* takes .* the labels of 1 images"):
        open_source(str(labels), CPU)


def tar_with(path: Path, name: str, *, size: int | None = None, **attributes: str) -> Path:
    """Return a tar of an image and of a file whose header, or attributes, state a wrong size."""
    member = tarfile.TarInfo(name)
    member.size = len(PNG) if size is None else size
    member.pax_headers = attributes
    kind = tarfile.PAX_FORMAT if attributes else tarfile.GNU_FORMAT
    header = member.tobuf(kind)
    whole = write_tar(path, {"0.png": PNG}).read_bytes()
    path.write_bytes(whole[:1024] + header + PNG.ljust(512, b"\0") + bytes(10240))
    return path


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"name": "1.png", "size": -1024}, "'1.png' has -1024 bytes"),
        ({"name": "1.png", "size": -1}, "'1.png' has -1 bytes"),
        ({"name": "1.png", "a": "b", "size": -1}, "bytes"),
        ({"name": "1.png", "comment": "x" * 40_000}, r"attributes of 40\d+ bytes, at most 32768"),
        ({"name": "1.png", "size": 2**40}, "10995116\\d+ bytes of '1.png' lie beyond its end"),
        ({"name": "1.cls", "size": 20_000}, "bytes of '1.cls' lie beyond its end"),
    ],
)
def test_tars_whose_sizes_cannot_be(how: dict[str, object], what: str, tmp_path: Path) -> None:
    file = tar_with(tmp_path / "set.tar", **how)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=f"is no whole tar file: .*{what}; was it copied to the"):
        open_source(str(file), CPU)


@pytest.mark.parametrize("size", ["-1536", "-512", "-1"])
def test_attributes_that_lead_back(size: str, tmp_path: Path) -> None:
    """tarfile takes the size of a file from its attributes, which are not in its header."""
    record = f" size={size}\n"
    record = f"{len(record) + 2}{record}"
    attributes = tarfile.TarInfo("attributes")
    attributes.type, attributes.size = tarfile.XHDTYPE, len(record)
    image = tarfile.TarInfo("0.png")
    image.size = len(PNG)
    whole = write_tar(tmp_path / "set.tar", {"0.png": PNG})
    blocks = [attributes.tobuf(), record.encode(), image.tobuf(), PNG, bytes(1024)]
    whole.write_bytes(b"".join(b.ljust(-(-len(b) // 512) * 512, b"\0") for b in blocks))
    with pytest.raises(SourceError, match=rf"no (whole|plain) tar file: '0\.png' has {size} bytes"):
        open_source(str(whole), CPU)


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '|u1', 'shape': (6, 4",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 3, 3) 4}",
        "(" * 3000,
        "{'descr': 7, 'fortran_order': False, 'shape': (1, 2, 3, 3), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2, 3, 3), }",
    ],
    ids=lambda text: text[:40],
)
def test_headers_of_arrays_that_are_none(text: str, tmp_path: Path) -> None:
    header = b"\x93NUMPY\1\0" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"
    (tmp_path / "set.npy").write_bytes(header + bytes(360))
    write_zip(tmp_path / "set.npz", {"arr_0.npy": header + bytes(360)})
    for name in ("set.npy", "set.npz"):
        with pytest.raises(SourceError, match=rf"{name} is (no array of numpy|uint8 \[-1)"):
            open_source(str(tmp_path / name), CPU)


def test_a_long_header_in_a_packed_array_is_not_read(tmp_path: Path) -> None:
    header = b"\x93NUMPY\2\0" + struct.pack("<I", 2**30)
    file = write_zip(tmp_path / "set.npz", {"arr_0.npy": header + bytes(2**22)})
    with pytest.raises(SourceError, match="arr_0 in .*is no array of numpy: EOF"):
        open_source(str(file), CPU)


def test_stored_arrays_that_lie_beyond_the_end(tmp_path: Path) -> None:
    source = Path(dataset_makers.npz(tmp_path, PICTURES))
    change_member(
        source, b"arr_0.npy", lambda data, at: struct.pack_into("<I", data, at + 24, 9**9)
    )
    with pytest.raises(SourceError, match="arr_0 in .*says that it holds|is no whole zip file"):
        open_source(str(source), CPU)


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("-1", "the label of 'a/0.png' in .* is -1, expected whole numbers from 0"),
        ("99999999999999999999", "is 99999999999999999999, expected whole numbers from 0 to 2"),
        ("1e400", "the label 'inf'"),
        ("1.5", "the label '1.5'"),
        ("true", "the label 'True'"),
        ('"7"', "the label '7'"),
        ("[" * 100_000, "RecursionError"),
    ],
    ids=lambda value: value[:20],
)
def test_labels_that_are_no_classes(label: str, what: str, tmp_path: Path) -> None:
    source = dataset_makers.folder(tmp_path, PICTURES)
    every = ", ".join(f'["{name}", {label}]' for name in PICTURES)
    Path(source, "dataset.json").write_text(f'{{"labels": [{every}]}}')
    with pytest.raises(SourceError, match=what):
        open_source(source, CPU)
    file = write_tar(
        tmp_path / "set.tar", {"0.png": PNG, "0.json": b'{"label": %b}' % label.encode()}
    )
    with pytest.raises(SourceError, match="holds no class: .* whole number|is -?9*1?, expected"):
        open_source(str(file), CPU)


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_numbers_that_are_no_classes(kind: type, tmp_path: Path) -> None:
    labels = np.array([0, -1], np.int64).astype(kind)
    np.savez(tmp_path / "set.npz", np.zeros((2, 4, 4, 3), np.uint8), labels)
    pq.write_table(pa.table({"image": [PNG, PNG], "label": labels}), tmp_path / "set.parquet")
    for name in ("set.npz", "set.parquet"):
        with pytest.raises(SourceError, match=rf"the label of '1' in .*{name} is {labels[1]}, exp"):
            open_source(str(tmp_path / name), CPU)


def test_more_images_than_a_file_can_hold(tmp_path: Path) -> None:
    count = MANY_IMAGES + 1
    pq.write_table(pa.table({"image": pa.nulls(count, pa.binary())}), tmp_path / "set.parquet")
    np.savez_compressed(tmp_path / "set.npz", np.zeros((count, 1, 1, 3), np.uint8))
    for name in ("set.parquet", "set.npz"):
        with pytest.raises(SourceError, match=rf"{name} announces {count} images in \d+ bytes, at"):
            open_source(str(tmp_path / name), CPU)


def test_what_parquet_repeats_is_in_memory_once(tmp_path: Path) -> None:
    source, size, rows = str(tmp_path / "set.parquet"), 2**19, 8000
    first = pa.array(np.zeros(rows, np.int32))
    values = {"image": [PNG.ljust(size, b"\0")], "label": ["x" * size]}
    table = {name: pa.DictionaryArray.from_arrays(first, each) for name, each in values.items()}
    pq.write_table(pa.table(table), source, store_schema=False)
    assert open_source(source, CPU)(np.array([0, rows - 1])).shape[0] == 2
    assert image_cells(DataLocation(source), RowGroup("", 0, 0, rows, "image")).nbytes < 2 * size


def test_names_of_classes_have_a_limit(tmp_path: Path) -> None:
    names = [f"{i:05d}" * 2**18 for i in range(60)]
    pq.write_table(pa.table({"image": [PNG] * 60, "label": names}), tmp_path / "set.parquet")
    with pytest.raises(SourceError, match=r"'label' of .* holds \d+ bytes in row group 0, at most"):
        open_source(str(tmp_path / "set.parquet"), CPU)


def test_a_unit_of_images_has_a_limit(tmp_path: Path) -> None:
    dataset = open_source(dataset_makers.folder(tmp_path, PICTURES), CPU)
    ids = np.broadcast_to(np.int64(0), (10**8,))
    with pytest.raises(
        InsufficientResources, match=r"100000000 images of 5 x 4 pixels, .* take 5\.6 GiB at"
    ):
        generate_samples(dataset, ids)


def test_large_images_are_decoded_one_after_another(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 4100, 4100, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(4100 * 514))
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    write_files(tmp_path, {f"{i}.png": file for i in range(3)})
    assert open_source(str(tmp_path), CPU).find_broken() == {}


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("a-{0..99999999999}.tar", "100000000000"),
        ("{0..999}{0..999}{0..999}", "1000000000"),
        ("{3..1}", "0"),
    ],
)
def test_patterns_of_too_many_files_or_none(pattern: str, count: str) -> None:
    with pytest.raises(SourceError, match=f"names {count} files, expected 1 to {MAX_FILES}; count"):
        expand_pattern(pattern)
