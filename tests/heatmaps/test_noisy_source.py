"""Noise in halves of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raymetrics import option_strings
from raymetrics.errors import SourceError
from raymetrics.generators import Generator, open_source
from raymetrics.heatmaps import noisy_source
from raymetrics.heatmaps.noisy_source import NOISE_REGIONS, noise_mask

GREY = "sources:Brightness?offset=100"
IDS = np.array([3, 17, 5])


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Of samples 0 to 19, with the largest values on the right."""
    heat = np.broadcast_to(np.arange(4, dtype=np.float32), (20, 4, 4))
    np.savez(tmp_path / "maps.npz", sample_ids=np.arange(20)[::-1], maps=heat)
    return tmp_path / "maps.npz"


def noisy(maps: Path, where: str, scale: str, of: str = GREY) -> Generator:
    options = {"of": of, "maps": str(maps), "where": where, "scale": scale}
    text = option_strings.format_options("raymetrics.heatmaps.noisy_source:NoisySource", options)
    return open_source(text, torch.device("cpu"))


def test_halves_get_the_noise_that_the_whole_gets(maps: Path) -> None:
    clean = open_source(GREY, torch.device("cpu"))(IDS)
    important, unimportant, everywhere = (
        noisy(maps, where, "0.05")(IDS) for where in NOISE_REGIONS
    )
    right = np.arange(28) >= 14
    np.testing.assert_array_equal(important, np.where(right, everywhere, clean))
    np.testing.assert_array_equal(unimportant, np.where(right, clean, everywhere))


def test_the_source_computes_where_it_is_told(maps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nowhere else, though a process sees a GPU: it may be another worker's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    devices: list[torch.device] = []
    monkeypatch.setattr(noisy_source, "open_source", lambda of, device: devices.append(device))
    for options in ({}, {"device": "cuda:1"}):
        noisy_source.NoisySource(GREY, str(maps), "everywhere", "0", **options)
    assert devices == [torch.device("cpu"), torch.device("cuda:1")]


def test_the_scale_is_a_standard_deviation_of_pixels_in_0_to_1(maps: Path) -> None:
    clean = open_source(GREY, torch.device("cpu"))(IDS).astype(float)
    for scale in (0.02, 0.08):
        found = noisy(maps, "everywhere", str(scale))(IDS) - clean
        assert abs(found.std() / 255 / scale - 1) < 0.03
        assert abs(found.mean()) < 255 * scale / 25
    np.testing.assert_array_equal(noisy(maps, "everywhere", "0")(IDS), clean)
    assert noisy(maps, "everywhere", "9")(IDS).min() == 0  # cut, and not wrapped round


def test_a_sample_is_a_function_of_its_id(maps: Path) -> None:
    source = noisy(maps, "important", "0.1")
    np.testing.assert_array_equal(source(IDS)[1:2], source(IDS[1:2]))
    assert (source(IDS)[0] != source(IDS)[2]).any()
    assert (source.length, source.labels(IDS).tolist()) == (1000, [1, 1, 1])


def test_the_text_of_earlier_versions_opens_the_same_source(maps: Path) -> None:
    options = {"of": GREY, "maps": str(maps), "where": "everywhere", "scale": "0.1"}
    text = option_strings.format_options("raymetrics.heatmaps.noise:Noisy", options)
    former, current = open_source(text, torch.device("cpu")), noisy(maps, "everywhere", "0.1")
    assert former.name == current.name == "raymetrics.heatmaps.noisy_source:NoisySource"
    assert former.spec == current.spec
    np.testing.assert_array_equal(former(IDS), current(IDS))


def test_the_spec_says_all_that_changes_pixels(maps: Path, tmp_path: Path) -> None:
    specs = [noisy(maps, where, "0.1").spec for where in NOISE_REGIONS]
    specs += [noisy(maps, "important", "0.2").spec]
    specs += [noisy(maps, "important", "0.1", "sources:Brightness?offset=99").spec]
    np.savez(tmp_path / "other.npz", sample_ids=np.arange(20), maps=np.zeros((20, 4, 4)))
    specs += [noisy(tmp_path / "other.npz", "important", "0.1").spec]
    for i, spec in enumerate(specs):
        assert [spec["spec"] == other["spec"] for other in specs].index(True) == i


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_halves_are_equal_even_where_a_map_is_flat(size: tuple[int, int]) -> None:
    for heat in (np.zeros((3, 3)), np.eye(3)):
        important, unimportant = (noise_mask(heat, where, size) for where in NOISE_REGIONS[:2])
        assert (important ^ unimportant).all()
        assert unimportant.sum() - important.sum() == size[0] * size[1] % 2


def test_what_is_wrong_is_said(maps: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", sample_ids=np.arange(3), maps=np.zeros((2, 4, 4)))
    (tmp_path / "text.npz").write_text("no archive")
    for path, where, scale, message in (
        (maps, "left", "0.1", "where is 'left', expected important, unimportant, everywhere"),
        (maps, "important", "-1", "scale is '-1', expected a number from 0 on"),
        (maps, "important", "nan", "scale is 'nan'"),
        (maps, "important", "much", "scale is 'much'"),
        (tmp_path / "bad.npz", "important", "1", r"sample_ids \[3\] and maps \[2, 4, 4\]"),
        (tmp_path / "text.npz", "important", "1", "text.npz holds no heatmaps"),
        (tmp_path / "none.npz", "important", "1", "cannot read .*none.npz"),
    ):
        with pytest.raises(SourceError, match=message):
            noisy(path, where, scale)
    with pytest.raises(SourceError, match="there is no map of sample 20, nor of 1 more"):
        noisy(maps, "important", "0.1")(np.array([19, 20, 21]))
