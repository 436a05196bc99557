"""The sources: pure functions of sample ids, and errors that say what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import sources  # as a user's module, from the path that conftest adds
import torch

from raymetrics.errors import SampleRangeError, SourceError
from raymetrics.extractors import make_extractor
from raymetrics.generators import (
    LatentGenerator,
    absolute_source,
    open_source,
)
from raymetrics.generators.digits import shipped_snapshots

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("source", "shape"),
    [("digits", (3, 28, 28)), ("faces", (3, 64, 64)), ("mnist", (3, 28, 28)),
     ("sources:noise", (3, 28, 28))],
)  # fmt: skip
def test_an_image_depends_on_its_id_alone(
    source: str, shape: tuple[int, ...], device: torch.device
) -> None:
    generator = open_source(source, device)
    ids = np.array([107, 3, 64, 65, 1000, 2])
    together = generator(ids)
    assert together.dtype == np.uint8
    assert together.shape == (6, *shape)
    for i, k in enumerate(ids):
        np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
    assert len({image.tobytes() for image in together}) == 6
    again = open_source(source, device)
    assert again.spec == generator.spec
    np.testing.assert_array_equal(again(ids), together)


def test_digits_read_as_the_digits_that_they_are_drawn_from(device: torch.device) -> None:
    generator = open_source("digits", device)
    ids = np.arange(500)
    logits = make_extractor("digits", device)(generator(ids))["logits"]
    labels = generator.labels(ids)
    assert (logits.argmax(axis=1) == labels).mean() > 0.85
    assert np.bincount(labels, minlength=10).min() > 25
    early = open_source(f"digits?snapshot={shipped_snapshots()[0]}", device)
    assert early.spec != generator.spec
    worse = make_extractor("digits", device)(early(ids))["logits"].argmax(axis=1) == labels
    assert worse.mean() < 0.7


def test_digits_are_latent(device: torch.device) -> None:
    generator = open_source("digits", device)
    assert isinstance(generator, LatentGenerator)
    ids = np.arange(40, 90)
    w = generator.map(generator.draw(ids), generator.labels(ids))
    assert (w.dtype, w.shape) == (np.float32, (50, 20))
    # Places in a block differ, so the last bit may too; a pixel in a thousand may round.
    near = np.abs(generator.synthesize(w).astype(int) - generator(ids).astype(int))
    assert near.max() <= 1


def test_mnist_has_every_class_in_any_prefix() -> None:
    digits = open_source("mnist", CPU)
    assert digits.length == 5000
    np.testing.assert_array_equal(digits.labels(np.arange(30)), np.arange(30) % 10)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (
            "nothing",
            "no source 'nothing', and nothing lies at .*/nothing; expected digits, faces, mnist, "
            "a folder.*module:callable",
        ),
        ("nothing:here", "cannot import 'nothing'.*looked in"),
        ("sources:nothing", "sources has no 'nothing'"),
        ("sources:np", "sources:np is module, expected a function or a class"),
        ("sources:noise?x=1", "is a function and takes no options"),
        ("sources:Brightness?x=1", "cannot make sources:Brightness with options.*x"),
        ("digits?snapshot=3", "digits has no snapshot 3; there are"),
        ("digits?snapshot=x", "cannot open source"),
        ("mnist?x=1", "source 'mnist' has no option 'x'"),
    ],
)
def test_sources_that_are_none(source: str, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        open_source(source, CPU)


def test_the_spec_is_of_the_user_s_file_whatever_decorates_the_function() -> None:
    digest = hashlib.sha256(Path(sources.__file__).read_bytes()).hexdigest()
    ids = np.arange(3)
    for source in ("sources:noise", "sources:decorated_noise", "sources:instance"):
        generator = open_source(source, CPU)
        assert generator.spec["source_sha256"] == digest
        np.testing.assert_array_equal(generator(ids), sources.noise(ids))


def test_ids_that_are_no_seeds() -> None:
    with pytest.raises(SampleRangeError, match="sample id 4294967296 is no seed"):
        open_source("digits", CPU)(np.array([2**32]))


def test_labels_of_the_wrong_length() -> None:
    with pytest.raises(SourceError, match=r"labels of sources:WrongLabels are \[1\] for 3"):
        open_source("sources:WrongLabels", CPU).labels(np.arange(3))


def test_local_files_are_named_by_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos.zip").touch()
    assert absolute_source("photos?size=8") == f"{tmp_path}/photos?size=8"
    assert absolute_source("photos.zip") == f"{tmp_path}/photos.zip"
    assert absolute_source("a-{0..3}.tar") == f"{tmp_path}/a-{{0..3}}.tar"
    assert absolute_source("diffusers:photos") == f"diffusers:{tmp_path}/photos"
    for elsewhere in ("digits?snapshot=400", "s3://bucket/photos.zip", "sources:noise", "no.zip"):
        assert absolute_source(elsewhere) == elsewhere
