"""Data sets for tests: the same images, written as every kind of data set."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.helpers.tfrecord_files import nvidia_example, write_records

Pictures = Mapping[str, np.ndarray]  # name -> pixels uint8 [h, w, 3]; the names are classes/n.png
Writer = Callable[[Path, "Pictures"], str]


def make_pictures(count: int = 6) -> dict[str, np.ndarray]:
    """Return noise of 5 x 4 pixels in classes a and b, in the order of their names."""
    rng = np.random.default_rng(0)
    names = sorted(f"{'ab'[i % 2]}/{i}.png" for i in range(count))
    return {name: rng.integers(0, 256, (4, 5, 3), np.uint8) for name in names}


def png(pixels: np.ndarray) -> bytes:
    """Return the bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def class_from_name(name: str) -> int:
    """Return the number of the class: 0 for a, 1 for b."""
    return "ab".index(name[0])


def write_files(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a folder of these files."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a compressed zip of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a tar of these files."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def folder(to: Path, pictures: Pictures) -> str:
    return str(write_files(to / "folder", {name: png(p) for name, p in pictures.items()}))


def zip_file(to: Path, pictures: Pictures) -> str:
    return str(write_zip(to / "set.zip", {name: png(p) for name, p in pictures.items()}))


def nvidia_zip(to: Path, pictures: Pictures) -> str:
    labels = [[name, class_from_name(name)] for name in pictures]
    files = {name: png(p) for name, p in pictures.items()}
    return str(
        write_zip(
            to / "nvidia.zip", {"dataset.json": json.dumps({"labels": labels}).encode(), **files}
        )
    )


def webdataset_files(pictures: Pictures) -> dict[str, bytes]:
    """Return the files of a WebDataset: an image and a class for every key."""
    images = {name: png(p) for name, p in pictures.items()}
    return {
        **images,
        **{n.replace(".png", ".cls"): str(class_from_name(n)).encode() for n in pictures},
    }


def tar(to: Path, pictures: Pictures) -> str:
    return str(write_tar(to / "set.tar", webdataset_files(pictures)))


def tar_shards(to: Path, pictures: Pictures) -> str:
    first = {name: p for name, p in pictures.items() if class_from_name(name) == 0}
    rest = {name: p for name, p in pictures.items() if name not in first}
    for i, part in enumerate((first, rest)):
        write_tar(to / f"part-{i:03d}.tar", webdataset_files(part))
    return str(to / "part-{000..001}.tar")


def parquet(to: Path, pictures: Pictures) -> str:
    """Write Parquet like Hugging Face's data sets, in row groups of four."""
    table = {
        "image": [{"bytes": png(p), "path": name} for name, p in pictures.items()],
        "label": [class_from_name(name) for name in pictures],
    }
    pq.write_table(pa.table(table), to / "set.parquet", row_group_size=4)
    return str(to / "set.parquet")


def parquet_folder(to: Path, pictures: Pictures) -> str:
    """Write two Parquet files of plain binary, with the names of classes."""
    (to / "rows").mkdir()
    names = list(pictures)
    for i, part in enumerate((names[:2], names[2:])):
        table = {"image": [png(pictures[n]) for n in part], "label": [n[0] for n in part]}
        pq.write_table(pa.table(table), to / "rows" / f"{i}.parquet")
    return str(to / "rows")


def npz(to: Path, pictures: Pictures) -> str:
    """Write a .npz file like ADM's samples."""
    classes = np.array([class_from_name(name) for name in pictures])
    np.savez(to / "set.npz", np.stack(list(pictures.values())), classes)
    return str(to / "set.npz")


def packed_npz(to: Path, pictures: Pictures) -> str:
    classes = np.array([class_from_name(name) for name in pictures])
    np.savez_compressed(to / "packed.npz", np.stack(list(pictures.values())), classes)
    return str(to / "packed.npz")


def npy(to: Path, pictures: Pictures) -> str:
    np.save(to / "set.npy", np.stack(list(pictures.values())))
    return str(to / "set.npy")


def tfrecords(to: Path, pictures: Pictures) -> str:
    """Write a folder like NVIDIA's: pixels in two sizes, and classes as rows with a single 1."""
    (to / "faces").mkdir()
    whole = [nvidia_example(p) for p in pictures.values()]
    write_records(to / "faces" / "faces-r03.tfrecords", whole)
    small = [nvidia_example(p[::2, ::2]) for p in pictures.values()]
    write_records(to / "faces" / "faces-r02.tfrecords", small)
    rows = np.eye(2, dtype=np.float32)[[class_from_name(name) for name in pictures]]
    with (to / "faces" / "faces-rxx.labels").open("wb") as file:
        np.save(file, rows)
    return str(to / "faces")


# Those whose order is that of names, then those whose order is the file's own.
BY_NAME: tuple[Writer, ...] = (folder, zip_file, nvidia_zip, tar, tar_shards)
BY_ROW: tuple[Writer, ...] = (
    parquet, parquet_folder, npz, packed_npz, npy, tfrecords,
)  # fmt: skip
