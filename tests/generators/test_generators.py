"""The sources: pure functions of sample ids, and errors that say what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import sources  # as a user's module, from the path that conftest adds
import torch
from PIL import Image

from raymetrics.errors import RangeError, SourceError
from raymetrics.extractors import make_extractor
from raymetrics.generators import LatentGenerator, open_source
from raymetrics.generators.digits import snapshots

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("source", "shape"),
    [("digits", (3, 28, 28)), ("faces", (3, 64, 64)), ("mnist", (3, 28, 28)),
     ("sources:noise", (3, 28, 28))],
)  # fmt: skip
def test_an_image_depends_on_its_id_alone(source: str, shape: tuple[int, ...]) -> None:
    generator = open_source(source, CPU)
    ids = np.array([107, 3, 64, 65, 1000, 2])
    together = generator(ids)
    assert together.dtype == np.uint8
    assert together.shape == (6, *shape)
    for i, k in enumerate(ids):
        np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
    assert len({image.tobytes() for image in together}) == 6
    again = open_source(source, CPU)
    assert again.spec == generator.spec
    np.testing.assert_array_equal(again(ids), together)


def test_digits_read_as_the_digits_that_they_are_drawn_from() -> None:
    generator = open_source("digits", CPU)
    ids = np.arange(500)
    logits = make_extractor("digits", CPU)(generator(ids))["logits"]
    labels = generator.labels(ids)
    assert (logits.argmax(axis=1) == labels).mean() > 0.85
    assert np.bincount(labels, minlength=10).min() > 25
    early = open_source(f"digits?snapshot={snapshots()[0]}", CPU)
    assert early.spec != generator.spec
    worse = make_extractor("digits", CPU)(early(ids))["logits"].argmax(axis=1) == labels
    assert worse.mean() < 0.7


def test_digits_are_latent() -> None:
    generator = open_source("digits", CPU)
    assert isinstance(generator, LatentGenerator)
    ids = np.arange(40, 90)
    w = generator.map(ids)
    assert (w.dtype, w.shape) == (np.float32, (50, 20))
    np.testing.assert_array_equal(generator.map(ids[7:8]), w[7:8])
    # Places in a block differ, so the last bit may too; a pixel in a thousand may round.
    near = np.abs(generator.synthesize(w).astype(int) - generator(ids).astype(int))
    assert near.max() <= 1


def test_mnist_has_every_class_in_any_prefix() -> None:
    digits = open_source("mnist", CPU)
    assert digits.length == 5000
    np.testing.assert_array_equal(digits.labels(np.arange(30)), np.arange(30) % 10)


def folder_of(path: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    """A folder of images of these sizes (width, height); the n-th is of brightness n."""
    for n, (name, size) in enumerate(sorted(sizes.items())):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (n, n, n)).save(file)
    return path


def test_folder(tmp_path: Path) -> None:
    names = {"b/2.png": (8, 6), "a/1.png": (8, 6), "a/0.png": (8, 6)}
    folder = open_source(str(folder_of(tmp_path, names)), CPU)
    assert folder.length == 3
    images = folder(np.array([2, 0]))
    assert images.shape == (2, 3, 6, 8)
    assert images[:, 0, 0, 0].tolist() == [2, 0]
    assert folder.labels(np.arange(3)).tolist() == [0, 0, 1]
    before = open_source(str(tmp_path), CPU).spec
    Image.new("RGB", (8, 6), (9, 9, 9)).save(tmp_path / "a/1.png")
    assert open_source(str(tmp_path), CPU).spec != before


def test_folder_without_classes_and_with_other_modes(tmp_path: Path) -> None:
    Image.new("L", (5, 5), 7).save(tmp_path / "0.png")
    Image.new("RGBA", (5, 5), (1, 2, 3, 255)).save(tmp_path / "1.png")
    (tmp_path / "notes.txt").write_text("not an image")
    folder = open_source(str(tmp_path), CPU)
    assert folder(np.arange(2))[:, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]
    assert folder.labels(np.arange(2)) is None


def test_folder_of_many_sizes(tmp_path: Path) -> None:
    path = folder_of(tmp_path, {"0.png": (8, 6), "1.png": (9, 6)})
    with pytest.raises(SourceError, match=r"1\.png is 9 x 6 pixels.*8 x 6.*\?size=256"):
        open_source(str(path), CPU)(np.arange(2))
    assert open_source(f"{path}?size=16", CPU)(np.arange(2)).shape == (2, 3, 16, 16)
    (path / "2.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match=r"cannot read .*2\.png.*mend or remove it"):
        open_source(f"{path}?size=16", CPU)(np.array([2]))


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (
            "nothing",
            "no source 'nothing'; expected digits, faces, mnist, a folder.*module:callable",
        ),
        ("nothing:here", "cannot import 'nothing'.*looked in"),
        ("sources:nothing", "sources has no 'nothing'"),
        ("sources:np", "sources:np is module, expected a function or a class"),
        ("sources:noise?x=1", "is a function and takes no options"),
        ("sources:Brightness?x=1", "cannot make sources:Brightness with options.*x"),
        ("digits?snapshot=3", "digits has no snapshot 3; there are"),
        ("digits?snapshot=x", "cannot open source"),
        ("mnist?x=1", "cannot open source"),
    ],
)
def test_sources_that_are_none(source: str, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        open_source(source, CPU)


def test_the_spec_is_of_the_user_s_file_whatever_decorates_the_function() -> None:
    digest = hashlib.sha256(Path(sources.__file__).read_bytes()).hexdigest()
    ids = np.arange(3)
    for source in ("sources:noise", "sources:decorated", "sources:instance"):
        generator = open_source(source, CPU)
        assert generator.spec["source_sha256"] == digest
        np.testing.assert_array_equal(generator(ids), sources.noise(ids))


def test_ids_that_are_no_seeds() -> None:
    with pytest.raises(RangeError, match="sample id 4294967296 is no seed"):
        open_source("digits", CPU)(np.array([2**32]))


def test_deep_images_are_refused_rather_than_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(SourceError, match=r"deep\.png has more than 8 bits a channel"):
        open_source(str(tmp_path), CPU)(np.array([0]))


def test_labels_of_the_wrong_length() -> None:
    with pytest.raises(SourceError, match=r"labels of sources:WrongLabels are \[1\] for 3"):
        open_source("sources:WrongLabels", CPU).labels(np.arange(3))


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no images in .*expected files that end in .*\.png"):
        open_source(str(tmp_path), CPU)
