"""Data sets that are refused, and by which words."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raymetrics.errors import RaymetricsError, SourceError, StorageError
from raymetrics.generators import open_source
from raymetrics.generators.image_datasets import (
    decode,
    numpy_arrays,
    parquet,
)
from tests.helpers import dataset_makers
from tests.helpers.dataset_makers import make_pictures, png, write_files, write_tar, write_zip

CPU = torch.device("cpu")
PICTURES = make_pictures()
PNG = png(PICTURES["a/0.png"])


def all_of(source: Path | str) -> np.ndarray:
    dataset = open_source(str(source), CPU)
    return dataset(np.arange(dataset.length))


def change(path: Path, flip: Callable[[bytearray], None]) -> None:
    """Change the bytes of a file."""
    data = bytearray(path.read_bytes())
    flip(data)
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../b.txt", "C:/x.png", "..\\x"])
@pytest.mark.parametrize("write", [write_zip, write_tar], ids=lambda w: w.__name__)
def test_names_that_lead_outside(write: Callable, name: str, tmp_path: Path) -> None:
    file = write(
        tmp_path / f"set{write.__name__.replace('write_', '.')}", {"0.png": PNG, name: PNG}
    )
    with pytest.raises(SourceError, match="leads outside of the file; expected"):
        open_source(str(file), CPU)


def test_a_zip_that_is_encrypted_or_repeats_itself(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "locked.zip", {"0.png": PNG})

    def encrypt(data: bytearray) -> None:
        data[data.rfind(b"PK\1\2") + 8] |= 1

    change(file, encrypt)
    with pytest.raises(SourceError, match=r"'0\.png' in .* is encrypted"):
        open_source(str(file), CPU)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("0.png", PNG)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("0.png", PNG)
    with pytest.raises(SourceError, match=r"'0\.png' in .* is there twice"):
        open_source(str(tmp_path / "twice.zip"), CPU)


def test_a_zip_bomb_is_refused_by_what_it_claims(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "bomb.zip", {"0.png": bytes(10_000), "1.png": PNG})

    def claim_much(data: bytearray) -> None:
        struct.pack_into("<I", data, data.find(b"PK\1\2") + 24, 2**31)

    change(file, claim_much)
    with pytest.raises(SourceError, match=r"0\.png: it takes 2147483648 bytes, at most 1073741824"):
        all_of(file)


def test_a_member_gives_no_more_than_it_claims(tmp_path: Path) -> None:
    file = write_zip(tmp_path / "bomb.zip", {"0.png": PNG + bytes(100_000)})

    def claim_little(data: bytearray) -> None:
        struct.pack_into("<I", data, data.find(b"PK\1\2") + 24, len(PNG))

    change(file, claim_little)
    with pytest.raises(SourceError, match=r"0\.png: it cannot be unpacked: Bad CRC"):
        all_of(file)


@pytest.mark.parametrize(
    "write",
    [dataset_makers.folder, dataset_makers.zip_file, dataset_makers.tar, dataset_makers.parquet],
    ids=lambda w: w.__name__,
)
def test_encoded_images_have_a_limit(
    write: dataset_makers.Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    with pytest.raises(SourceError, match="it takes .* bytes, at most 10 are read"):
        all_of(write(tmp_path, PICTURES))


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (dataset_makers.zip_file, "is no whole zip file"),
        (dataset_makers.tar, "is no whole tar file: no end mark at 10240"),
        (dataset_makers.parquet, "is no whole Parquet file"),
        (dataset_makers.npz, "is no whole zip file"),
        (
            dataset_makers.npy,
            r"says that it holds \[6, 4, 5, 3\] numbers uint8, but there are 10 bytes",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", "words"),
)
def test_files_that_were_not_copied_to_the_end(
    write: dataset_makers.Writer, what: str, tmp_path: Path
) -> None:
    file = Path(write(tmp_path, PICTURES))
    whole = file.read_bytes()
    end = 138 if file.suffix == ".npy" else len(whole) // 2
    file.write_bytes(whole[:end])
    with pytest.raises(RaymetricsError, match=what):
        all_of(file)
    file.write_bytes(b"nothing of the kind" * 40)
    with pytest.raises(SourceError, match="is no "):
        all_of(file)


@given(end=st.integers(1, 20 * 512 + 511))
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_tar_that_ends_anywhere_too_early(end: int, tmp_path: Path) -> None:
    file = Path(dataset_makers.tar(tmp_path, PICTURES))
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(SourceError, match="no whole tar file|no plain tar file"):
        open_source(str(file), CPU)


def test_tars_with_links_and_packed_tars(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        with tarfile.open(tmp_path / "links.tar", "w") as tar:
            link = tarfile.TarInfo("0.png")
            link.type, link.linkname = kind, "/etc/passwd"
            tar.addfile(link)
        with pytest.raises(SourceError, match=r"'0\.png' in .*links\.tar is a link"):
            open_source(str(tmp_path / "links.tar"), CPU)
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("0.png"), io.BytesIO())
    with pytest.raises(SourceError, match="is no plain tar file"):
        open_source(str(tmp_path / "packed.tar"), CPU)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"0.cls": b"1", "0.txt": b"x"}, "no images in"),
        ({"0.png": PNG, "0.cls": b"dog"}, "holds no class: b'dog'; expected a whole number"),
        ({"0.png": PNG, "0.json": b'{"label": "dog"}'}, "holds no class"),
        ({"0.png": PNG, "./0.png": PNG}, "is twice in"),
    ],
)
def test_samples_that_make_no_sense(files: dict[str, bytes], what: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=what):
        open_source(str(write_tar(tmp_path / "set.tar", files)), CPU)


@pytest.mark.parametrize(
    ("columns", "query", "what"),
    [
        ({"picture": [PNG]}, "", "no column 'image', but picture; choose .*column="),
        ({"image": ["0.png"]}, "", "'image' of .* holds string; expected the bytes"),
        ({"image": [PNG], "label": [0.5]}, "", "'label' of .* holds double; expected whole"),
        ({"image": [PNG]}, "?label=class", "no column 'class' for the labels"),
        ({"image": [{"bytes": None, "path": "0.png"}, {"bytes": PNG, "path": None}]}, "",
         "/0: its row holds no bytes, only a path"),
    ],
)  # fmt: skip
def test_tables_without_images(
    columns: dict[str, list[object]], query: str, what: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    with pytest.raises(SourceError, match=what):
        all_of(f"{tmp_path}/set.parquet{query}")


def test_row_groups_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 100)
    with pytest.raises(SourceError, match="row group 0 of .* holds .* smaller row groups"):
        open_source(dataset_makers.parquet(tmp_path, PICTURES), CPU)


@pytest.mark.parametrize(
    ("contents", "what"),
    [
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, "no array 'arr_0' among images"),
        ({"arr_0": np.zeros((2, 4, 4, 3))}, r"float64 \[2, 4, 4, 3\], expected uint8"),
        ({"arr_0": np.zeros((2, 3, 4, 4), np.uint8)}, r"expected uint8 \[n, height, width, 3\]"),
        ({"arr_0": np.zeros((3, 4, 4, 2), np.uint8).T[..., :3]}, "expected uint8"),
        ({"arr_0": np.asfortranarray(np.zeros((2, 4, 4, 3), np.uint8))}, "Fortran's order"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.zeros(3, int)},
         r"arr_1 in .* is int64 \[3\], expected whole numbers \[2\]"),
        ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8), "arr_1": np.array([None, 1])},
         r"arr_1 in .* is object \[2\], expected whole"),
        ({"arr_0": np.array([{}, 1], object)}, "is object"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images(
    contents: dict[str, np.ndarray], what: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "set.npz", **contents)
    with pytest.raises(SourceError, match=what):
        open_source(str(tmp_path / "set.npz"), CPU)


def test_packed_arrays_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_arrays, "MAX_UNPACKED_BYTES", 100)
    dataset_makers.npz(tmp_path, PICTURES)
    assert len(all_of(tmp_path / "set.npz")) == 6
    with pytest.raises(SourceError, match=r"is compressed, .* GiB .* write it again with numpy"):
        open_source(dataset_makers.packed_npz(tmp_path, PICTURES), CPU)


def test_an_array_that_claims_more_than_there_is(tmp_path: Path) -> None:
    file = Path(dataset_makers.npy(tmp_path, PICTURES))
    file.write_bytes(file.read_bytes().replace(b"(6, 4, 5, 3)", b"(9, 9, 9, 3)"))
    with pytest.raises(SourceError, match=r"\[9, 9, 9, 3\] numbers uint8, but there are 360"):
        open_source(str(file), CPU)


def test_labels_that_claim_more_than_there_is(tmp_path: Path) -> None:
    file = io.BytesIO()
    header = {"descr": "<i8", "fortran_order": False, "shape": (6,)}
    np.lib.format.write_array_header_1_0(file, header)
    dataset_makers.npz(tmp_path, PICTURES)
    with zipfile.ZipFile(tmp_path / "set.npz") as whole:
        files = {"arr_0.npy": whole.read("arr_0.npy"), "arr_1.npy": file.getvalue() + bytes(9999)}
    dataset_makers.write_zip(tmp_path / "b.npz", files)
    with pytest.raises(SourceError, match=r"arr_1 in .*\[6\] numbers int64, but there are 9999"):
        open_source(str(tmp_path / "b.npz"), CPU)


@pytest.mark.parametrize("name", ["arr_0", "arr_1"])
@pytest.mark.parametrize("begin", [0, 20])
def test_packed_arrays_that_are_damaged(name: str, begin: int, tmp_path: Path) -> None:
    file = Path(dataset_makers.packed_npz(tmp_path, PICTURES))
    data = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        at = archive.getinfo(f"{name}.npy").header_offset
    start = at + 30 + sum(struct.unpack_from("<HH", data, at + 26)) + begin
    data[start : start + 20] = b"\xff" * 20
    file.write_bytes(data)
    with pytest.raises(SourceError, match=f"{name} in .*packed.npz"):
        all_of(file)


def test_places_that_are_no_data_sets(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no images in .*expected files that end in .*\.png"):
        open_source(str(tmp_path), CPU)
    write_files(tmp_path, {"0.png": PNG, "1.tar": b"", "2.tar": b""})
    with pytest.raises(SourceError, match=r"holds 2 \.tar and 1 images; name a folder of one kind"):
        open_source(str(tmp_path), CPU)
    with pytest.raises(SourceError, match="there is no file .*none.zip"):
        open_source(str(tmp_path / "none.zip"), CPU)
    with pytest.raises(SourceError, match=r"there is no file .*-3\.tar"):
        open_source(str(tmp_path / "part-{3..4}.tar"), CPU)
    with pytest.raises(StorageError, match="cannot read nothing://here.zip"):
        open_source("nothing://here.zip", CPU)
    with pytest.raises(SourceError, match="is no data set; expected a folder, or a file that ends"):
        open_source(f"file://{tmp_path}/0.png", CPU)


def test_storage_that_fails_is_not_a_broken_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = dataset_makers.folder(tmp_path, PICTURES)
    dataset = open_source(source, CPU)
    (tmp_path / "folder/a/2.png").unlink()
    with pytest.raises(StorageError, match=r"cannot read .*a/2\.png: No such file"):
        dataset.find_broken()


def test_a_file_that_may_not_be_looked_at_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(self: object, path: str, **_: object) -> None:
        raise PermissionError(13, "Access Denied")

    monkeypatch.setattr(MemoryFileSystem, "info", refuse)
    with pytest.raises(StorageError, match=r"cannot read memory://set\.zip: Access Denied"):
        open_source("memory://set.zip", CPU)
