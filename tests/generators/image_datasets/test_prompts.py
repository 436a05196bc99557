"""Prompts of data sets: beside the images, in a list, in tars, in Parquet; and what is refused."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raymetrics.errors import SourceError
from raymetrics.generators.image_datasets import open_dataset

NAMES = ["a/1.png", "a/2.png", "b/3.png"]
TEXTS = ["one cat", "zwei Bären", 'three, "dogs"']
ALL = np.arange(3)


def png(shade: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, shade, shade)).save(content, "PNG")
    return content.getvalue()


def text_files() -> dict[str, bytes]:
    texts = zip(NAMES, TEXTS, strict=True)
    return {name.replace("png", "txt"): f"{text}\n".encode() for name, text in texts}


def listed(field: str) -> bytes:
    lines = [json.dumps({"file_name": n, field: t}) for n, t in zip(NAMES, TEXTS, strict=True)]
    return "\n".join(lines).encode()


def as_folder(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def as_zip(folder: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(folder / "set.zip")


def as_tar(folder: Path, files: dict[str, bytes]) -> str:
    with tarfile.open(folder / "set.tar", "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(folder / "set.tar")


IMAGES = {name: png(i) for i, name in enumerate(NAMES)}
BY_STEM = json.dumps(
    {str(i): {"category": "x", "prompt": text} for i, text in enumerate(TEXTS, 1)}
).encode()
IN_JSON = {
    name.replace("png", "json"): json.dumps({"label": 1, "caption": text}).encode()
    for name, text in zip(NAMES, TEXTS, strict=True)
}


@pytest.mark.parametrize("write", [as_folder, as_zip])
@pytest.mark.parametrize(
    ("prompts", "files"),
    [
        ("txt", text_files()),
        ("metadata.jsonl:text", {"metadata.jsonl": listed("text")}),
        ("metadata.jsonl", {"metadata.jsonl": listed("prompt")}),
        ("meta_data.json", {"meta_data.json": BY_STEM}),
        ("texts.json", {"texts.json": json.dumps(dict(zip(NAMES, TEXTS, strict=True))).encode()}),
    ],
)
def test_beside_images(tmp_path: Path, write, prompts: str, files: dict[str, bytes]) -> None:
    dataset = open_dataset(write(tmp_path, IMAGES | files), prompts=prompts)
    assert dataset.prompts(ALL) == TEXTS
    assert dataset.prompts(np.array([2, 0])) == [TEXTS[2], TEXTS[0]]
    assert dataset(ALL)[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert dataset.label_names == ("a", "b")


def test_skipped_images_keep_their_prompts_away(tmp_path: Path) -> None:
    place = as_folder(tmp_path, IMAGES | text_files())
    dataset = open_dataset(place, prompts="txt", skip="a/1.png")
    assert dataset.prompts(np.arange(2)) == TEXTS[1:]


@pytest.mark.parametrize(("prompts", "files"), [("txt", text_files()), ("json:caption", IN_JSON)])
def test_in_tars(tmp_path: Path, prompts: str, files: dict[str, bytes]) -> None:
    dataset = open_dataset(as_tar(tmp_path, IMAGES | files), prompts=prompts)
    assert dataset.prompts(ALL) == TEXTS
    labels = dataset.labels(ALL)
    assert (labels is not None) == (prompts != "txt")


def parquet(folder: Path, captions: pa.Array) -> str:
    table = pa.table({"image": pa.array([*IMAGES.values()], pa.binary()), "caption": captions})
    pq.write_table(table, folder / "set.parquet", row_group_size=2)
    return str(folder / "set.parquet")


def test_in_parquet(tmp_path: Path) -> None:
    for captions in (pa.array(TEXTS), pa.array(TEXTS).dictionary_encode()):
        dataset = open_dataset(parquet(tmp_path, captions), prompts="caption")
        assert dataset.prompts(ALL) == TEXTS


def test_a_set_has_another_fingerprint_with_prompts_only(tmp_path: Path) -> None:
    """And another one again, if a prompt changes; without prompts no text file matters."""
    place = as_folder(tmp_path, IMAGES)
    before = open_dataset(place).spec
    as_folder(tmp_path, text_files())
    assert open_dataset(place).spec == before
    assert open_dataset(place).prompts(ALL) is None
    asked = open_dataset(place, prompts="txt").spec
    assert asked["options"] == {"prompts": "txt"}
    (tmp_path / "a" / "1.txt").write_text("another")
    assert open_dataset(place, prompts="txt").spec != asked


WITHOUT_ONE = {name: text for name, text in text_files().items() if name != "a/2.txt"}


@pytest.mark.parametrize(
    ("write", "prompts", "files", "message"),
    [
        (as_folder, "txt", WITHOUT_ONE, "there is no a/2.txt in .* for the prompts"),
        (as_zip, "captions.json", {}, "there is no captions.json in .*set.zip for the prompts"),
        (as_folder, "m.jsonl", {"m.jsonl": listed("text")}, "no field 'prompt', but file_name, te"),
        (as_folder, "m.jsonl", {"m.jsonl": b"{"}, "cannot read m.jsonl in .*expected a line for"),
        (as_folder, "m.json", {"m.json": b'{"1": "x"}'}, "m.json in .* has no prompt for a/2.png"),
        (as_folder, "m.json", {"m.json": b'{"1": 7}'}, "has the prompt '7', expected a text"),
        (
            as_folder,
            "txt",
            text_files() | {"a/1.txt": b"\xff"},
            "holds no prompt: .*expected UTF-8",
        ),
        (as_tar, "txt", WITHOUT_ONE, "the sample 'a/2' in .*set.tar has no prompt 'txt'"),
        (as_tar, "json:text", IN_JSON, "has no prompt 'json:text'; expected a text file"),
        (as_tar, "json:label", IN_JSON, "has the prompt '1', expected a text"),
    ],
)
def test_refused(
    tmp_path: Path, write, prompts: str, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        open_dataset(write(tmp_path, IMAGES | files), prompts=prompts)


@pytest.mark.parametrize(
    ("captions", "name", "message"),
    [
        (pa.array(TEXTS), "text", "no column 'text' for the prompts, but image, caption"),
        (pa.array([1, 2, 3]), "caption", "the column 'caption' of .* holds int64; expected text"),
        (pa.array(["a", None, "c"]), "caption", "row 1 of .* has the prompt 'None', expected a t"),
    ],
)
def test_refused_in_parquet(tmp_path: Path, captions: pa.Array, name: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_dataset(parquet(tmp_path, captions), prompts=name)
