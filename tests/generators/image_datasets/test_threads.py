"""Images of a call that several threads decode."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from raymetrics.errors import SourceError, StorageError
from raymetrics.generators import open_source
from raymetrics.generators.image_datasets.image_dataset import ImageDataset
from tests.helpers import dataset_makers
from tests.helpers.dataset_makers import BY_NAME, BY_ROW, make_pictures

PICTURES = make_pictures(40)
IDS = np.array([5, 0, 39, 3, 3, *range(30)])


def open_dataset(source: str, threads: int) -> ImageDataset:
    dataset = open_source(source, torch.device("cpu"))
    assert isinstance(dataset, ImageDataset)
    assert dataset.threads == 1
    dataset.threads = threads
    return dataset


@pytest.mark.parametrize("write", BY_NAME + BY_ROW, ids=lambda w: w.__name__)
def test_the_bytes_do_not_depend_on_threads(write: dataset_makers.Writer, tmp_path: Path) -> None:
    source = write(tmp_path, PICTURES)
    one, four = open_dataset(source, 1), open_dataset(source, 4)
    np.testing.assert_array_equal(four(IDS), one(IDS))
    np.testing.assert_array_equal(one(IDS[:1])[0].transpose(1, 2, 0), list(PICTURES.values())[5])
    assert (four.spec, four.thread_safe) == (one.spec, True)


def test_as_many_images_at_a_time_as_there_are_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(dataset_makers.folder(tmp_path, PICTURES), 4)
    expected = dataset(np.arange(8))
    together, original = threading.Barrier(4, timeout=60), dataset.image

    def wait_for_others(sample_id: int) -> np.ndarray:
        together.wait()  # fails unless four threads come here
        return original(sample_id)

    monkeypatch.setattr(dataset, "image", wait_for_others)
    np.testing.assert_array_equal(dataset(np.arange(8)), expected)


@pytest.mark.parametrize("threads", [1, 4])
def test_broken_images_among_many_are_named(threads: int, tmp_path: Path) -> None:
    source = dataset_makers.folder(tmp_path, PICTURES)
    names = list(PICTURES)
    for name in (names[7], names[31]):
        (Path(source) / name).write_bytes(b"no image")
    dataset = open_dataset(source, threads)
    what = rf"cannot read 2 of 40 images: .*{names[7]}: .*; .*{names[31]}: .*; mend or remove"
    with pytest.raises(SourceError, match=what):
        dataset(np.arange(40))
    assert len(dataset(np.arange(8, 31))) == 23


@pytest.mark.parametrize("threads", [1, 4])
def test_the_first_image_of_another_size_is_named(threads: int, tmp_path: Path) -> None:
    names = list(PICTURES)
    large = {name: np.zeros((9, 9, 3), np.uint8) for name in (names[11], names[12])}
    source = dataset_makers.folder(tmp_path, PICTURES | large)
    with pytest.raises(SourceError, match=f"{names[11]} is 9 x 9 pixels, the first image .* 5 x 4"):
        open_dataset(source, threads)(np.arange(40))


def test_a_store_that_fails_is_reported_from_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(dataset_makers.folder(tmp_path, PICTURES), 4)

    def fail(sample_id: int) -> np.ndarray:
        raise StorageError(f"no answer for {sample_id}")

    monkeypatch.setattr(dataset, "image", fail)
    with pytest.raises(StorageError, match="no answer for 3"):
        dataset(np.arange(3, 40))
