"""Data sets: the same images are the same samples, whatever they lie in."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raymetrics.errors import SourceError
from raymetrics.generators import Generator, open_source, quick_fingerprint, skip_broken_images
from raymetrics.generators.image_datasets import parquet
from raymetrics.generators.image_datasets.decode import DecodeOptions
from raymetrics.generators.image_datasets.file_access import expand_pattern
from raymetrics.generators.image_datasets.image_dataset import ImageDataset, skip_text
from raymetrics.generators.image_datasets.image_list import ImageList
from tests.helpers import dataset_makers
from tests.helpers.dataset_makers import BY_NAME, BY_ROW, make_pictures, png, write_files, write_tar

CPU = torch.device("cpu")
PICTURES = make_pictures()
PIXELS = np.stack(list(PICTURES.values())).transpose(0, 3, 1, 2)
CLASSES = [dataset_makers.class_from_name(name) for name in PICTURES]


def open_on_cpu(source: str) -> Generator:
    return open_source(source, CPU)


@pytest.mark.parametrize("write", BY_NAME + BY_ROW, ids=lambda w: w.__name__)
def test_every_kind_gives_the_same_samples(write: dataset_makers.Writer, tmp_path: Path) -> None:
    source = write(tmp_path, PICTURES)
    dataset = open_on_cpu(source)
    ids = np.array([5, 0, 3, 3, 1])
    assert dataset.length == len(PICTURES)
    np.testing.assert_array_equal(dataset(ids), PIXELS[ids])
    labels = dataset.labels(ids)
    if write is dataset_makers.npy:
        assert labels is None
    else:
        assert labels.dtype == np.int64
        assert labels.tolist() == [CLASSES[k] for k in ids]
    again = open_on_cpu(source)
    assert again.spec == dataset.spec
    assert quick_fingerprint(again) == quick_fingerprint(dataset)


@pytest.mark.parametrize("write", BY_NAME + BY_ROW, ids=lambda w: w.__name__)
def test_other_file_systems_give_the_same_samples(
    write: dataset_makers.Writer, tmp_path: Path
) -> None:
    source = write(tmp_path, PICTURES)
    memory = fsspec.filesystem("memory")
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        memory.pipe_file(f"/datasets/{file.relative_to(tmp_path)}", file.read_bytes())
    remote = f"memory://datasets/{Path(source).relative_to(tmp_path)}"
    try:
        for uri in (remote, f"file://{source}"):
            dataset = open_on_cpu(uri)
            np.testing.assert_array_equal(dataset(np.arange(6)), PIXELS)
            assert dataset.spec == open_on_cpu(source).spec
    finally:
        memory.rm("/datasets", recursive=True)


@pytest.mark.parametrize("write", BY_NAME, ids=lambda w: w.__name__)
def test_the_order_of_writing_is_no_part_of_a_set(
    write: dataset_makers.Writer, tmp_path: Path
) -> None:
    dataset = open_on_cpu(write(tmp_path, dict(reversed(PICTURES.items()))))
    np.testing.assert_array_equal(dataset(np.arange(6)), PIXELS)
    assert dataset.labels(np.arange(6)).tolist() == CLASSES


@pytest.mark.parametrize("write", BY_NAME + BY_ROW, ids=lambda w: w.__name__)
def test_a_changed_pixel_is_another_set(write: dataset_makers.Writer, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    before = open_on_cpu(write(tmp_path / "one", PICTURES))
    name = next(iter(PICTURES))
    changed = {**PICTURES, name: 255 - PICTURES[name]}
    assert open_on_cpu(write(tmp_path / "other", changed)).spec != before.spec


@pytest.mark.parametrize("write", BY_NAME + BY_ROW, ids=lambda w: w.__name__)
def test_what_is_skipped_is_as_if_it_had_never_been_there(
    write: dataset_makers.Writer, tmp_path: Path
) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "some").mkdir()
    source = write(tmp_path / "all", PICTURES)
    names = open_on_cpu(source).names
    fewer = open_on_cpu(f"{source}?skip={skip_text([names[0], names[4]])}")
    kept_ids = [1, 2, 3, 5]
    without = {name: p for i, (name, p) in enumerate(PICTURES.items()) if i in kept_ids}
    alone = open_on_cpu(write(tmp_path / "some", without))
    ids = np.arange(4)
    assert fewer.length == alone.length == 4
    np.testing.assert_array_equal(fewer(ids), alone(ids))
    assert str(fewer.labels(ids)) == str(alone.labels(ids))
    assert fewer.spec["skipped"] == sorted([names[0], names[4]])
    assert quick_fingerprint(fewer) != quick_fingerprint(open_on_cpu(source))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(min_size=1), min_size=2, max_size=8, unique=True), st.data())
def test_any_names_can_be_skipped(names: list[str], data: st.DataObject) -> None:
    left_out = data.draw(st.lists(st.sampled_from(names), max_size=len(names) - 1, unique=True))
    place = type("Place", (), {"uri": "made/up"})
    entries = ImageList("folder", place, {}, names, [None] * len(names), lambda k: PIXELS[k])
    dataset = ImageDataset(entries, DecodeOptions(), skip_text(left_out))
    assert dataset.names == [name for name in names if name not in left_out]


@pytest.mark.parametrize(
    "write", [dataset_makers.folder, dataset_makers.zip_file, dataset_makers.tar]
)
def test_broken_images_are_left_out_once_and_for_all(
    write: dataset_makers.Writer, tmp_path: Path
) -> None:
    pictures = {f"a/{i}, really? 100%.png": PIXELS[0].transpose(1, 2, 0) for i in range(6)}
    bad = {"a/0, really? 100%.png", "a/4, really? 100%.png"}
    source = write(tmp_path, pictures)
    damage(source, pictures, bad)
    with pytest.raises(SourceError, match=r"cannot read 2 of 6 .*/a/0, .*/a/4, .*--skip-broken N"):
        open_on_cpu(source)(np.arange(6))
    with pytest.raises(SourceError, match="2 of 6 images .* at most 1 may be left out: a/0"):
        skip_broken_images(source, 1)
    mended, names = skip_broken_images(source, 2)
    assert set(names) == bad
    dataset = open_on_cpu(mended)
    assert dataset.length == 4
    assert len(dataset(np.arange(4))) == 4
    assert dataset.spec["skipped"] == sorted(bad)
    assert skip_broken_images(mended, 0) == (mended, [])


def damage(source: str, pictures: dataset_makers.Pictures, bad: set[str]) -> None:
    """Write the set again, with the bytes of some images cut off."""
    cut = {n: png(p)[: -40 if n in bad else None] for n, p in pictures.items()}
    if source.endswith(".zip"):
        dataset_makers.write_zip(Path(source), cut)
    elif source.endswith(".tar"):
        write_tar(Path(source), cut)
    else:
        write_files(Path(source), cut)


def test_a_broken_image_is_added_to_those_that_are_skipped_already(tmp_path: Path) -> None:
    source = dataset_makers.folder(tmp_path, PICTURES)
    (tmp_path / "folder/b/1.png").write_bytes(b"broken")
    mended, names = skip_broken_images(f"{source}?size=4&skip=a/0.png", 1)
    assert names == ["b/1.png"]
    assert mended == f"{source}?size=4&skip=a/0.png,b/1.png"
    with pytest.raises(SourceError, match="mnist is no data set of image files"):
        skip_broken_images("mnist", 1)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{08..10}.tar", ["a-08.tar", "a-09.tar", "a-10.tar"]),
        ("{0..1}-{2..3}", ["0-2", "0-3", "1-2", "1-3"]),
        ("{a}", ["{a}"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert expand_pattern(pattern) == names


def test_labels_of_nvidia_s_kind_are_for_all_or_none(tmp_path: Path) -> None:
    source = dataset_makers.folder(tmp_path, PICTURES)
    file = tmp_path / "folder" / "dataset.json"
    file.write_text('{"labels": null}')
    assert open_on_cpu(source).labels(np.arange(6)) is None
    before = open_on_cpu(source).spec
    file.write_text('{"labels": [["a/0.png", 7]]}')
    with pytest.raises(SourceError, match=r"has no label for a/2\.png"):
        open_on_cpu(source)
    every = ", ".join(f'["{name}", 7]' for name in PICTURES)
    file.write_text(f'{{"labels": [{every}]}}')
    assert open_on_cpu(source).labels(np.arange(6)).tolist() == [7] * 6
    assert open_on_cpu(source).spec != before


def test_an_image_outside_of_all_classes_leaves_none(tmp_path: Path) -> None:
    source = dataset_makers.folder(tmp_path, {**PICTURES, "z.png": PICTURES["a/0.png"]})
    assert open_on_cpu(source).labels(np.arange(7)) is None
    assert open_on_cpu(f"{source}?skip=z.png").labels(np.arange(6)).tolist() == CLASSES


def test_foreign_files_are_no_part_of_a_set_but_hidden_images_are(tmp_path: Path) -> None:
    source = dataset_makers.folder(tmp_path, {".hidden.png": PICTURES["a/0.png"], **PICTURES})
    before = open_on_cpu(source)
    (tmp_path / "folder" / "notes.txt").write_text("not an image")
    assert before.length == 7
    assert before.names[0] == ".hidden.png"
    assert open_on_cpu(source).spec == before.spec


def test_a_sample_of_several_images_needs_a_choice(tmp_path: Path) -> None:
    image, mask = png(PICTURES["a/0.png"]), png(PICTURES["a/2.png"])
    files = {"0.seg.png": mask, "0.jpg": image, "0.json": b'{"label": 3}', "1.txt": b"alone"}
    source = str(write_tar(tmp_path / "set.tar", files))
    with pytest.raises(SourceError, match=r"'0' in .* jpg, seg\.png, more than one.*\?image=jpg"):
        open_on_cpu(source)
    for ending, name in (("jpg", "a/0.png"), ("seg.png", "a/2.png")):
        dataset = open_on_cpu(f"{source}?image={ending}")
        np.testing.assert_array_equal(dataset(np.arange(1))[0].transpose(1, 2, 0), PICTURES[name])
        assert dataset.labels(np.arange(1)).tolist() == [3]
    with pytest.raises(SourceError, match="but none called gif"):
        open_on_cpu(f"{source}?image=gif")


def test_each_row_group_is_read_once_for_ids_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_on_cpu(dataset_makers.parquet(tmp_path, PICTURES))
    read = []
    cells = parquet.image_cells
    monkeypatch.setattr(parquet, "image_cells", lambda p, g: read.append(g.index) or cells(p, g))
    for k in range(6):
        dataset(np.array([k]))
    assert read == [0, 1]
