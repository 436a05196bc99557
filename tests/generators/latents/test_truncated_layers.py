"""`cutoff`: the first layers get the truncated w, and the others the whole one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.latents import TruncatedGenerator, sample_w, w_estimation
from raymetrics.generators.latents.interpolated_paths import InterpolatedPaths
from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER, Z_STRATEGIES
from raymetrics.generators.source_settings import parse_setting
from tests.generators.stylegan2.test_stylegan2 import W, nvidia_file, random_state

CPU = torch.device("cpu")
IDS = np.array([107, 3, 64, 65, 1000, 2, 2**31, 3])
IN_W = [name for name in STRATEGY_BY_LETTER.values() if name not in Z_STRATEGIES]


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 1000)


@pytest.mark.parametrize("name", IN_W)
def test_the_first_layers_are_truncated_alone(name: str) -> None:
    source = f"latent_sources:LayeredFlow?classes=2&truncate={name}:0.4"
    whole = open_source("latent_sources:LayeredFlow?classes=2", CPU)
    truncated, some = open_source(source, CPU), open_source(f"{source}&cutoff=3", CPU)
    w = sample_w(some, IDS)
    assert (w.dtype, w.shape) == (np.float32, (8, 4, 3))
    for layer, expected in enumerate([truncated, truncated, truncated, whole]):
        np.testing.assert_array_equal(w[:, layer], sample_w(expected, IDS))
        np.testing.assert_array_equal(some(IDS)[:, :, :, layer], expected(IDS)[:, :, :, layer])
    assert (truncated(IDS) != whole(IDS)).any()
    for i, k in enumerate(IDS):
        np.testing.assert_array_equal(some(np.array([k]))[0], some(IDS)[i])
    for cutoff, expected in ((0, whole), (4, truncated)):
        np.testing.assert_array_equal(
            open_source(f"{source}&cutoff={cutoff}", CPU)(IDS), expected(IDS)
        )


def test_the_cutoff_is_that_of_stylegan2_s_psi(tmp_path: Path, device: torch.device) -> None:
    state = random_state("skip")
    path = nvidia_file(tmp_path / "g.pkl", state)
    truncated = open_source(f"{path}?truncate=D:0.6&cutoff=2", device)
    assert isinstance(truncated, TruncatedGenerator)
    mean = truncated.distributions.for_class(None).mean
    same = nvidia_file(tmp_path / "h.pkl", {**state, "mapping.w_avg": mean})
    images = truncated(IDS).astype(int)
    psi = open_source(f"{same}?psi=0.6&cutoff=2", device)(IDS)
    assert np.abs(images - psi).max() <= 1
    assert np.abs(images - open_source(f"{path}?truncate=D:0.6", device)(IDS)).max() > 1
    all_layers = open_source(f"{path}?truncate=D:0.6&cutoff=6", device)
    np.testing.assert_array_equal(
        all_layers(IDS), open_source(f"{path}?truncate=D:0.6", device)(IDS)
    )


def test_a_cutoff_beside_psi_is_psi_s(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    with pytest.raises(SourceError, match="g cannot be truncated .* leave out the option cutoff"):
        open_source(f"{path}?psi=0.7&cutoff=2&truncate=D:0.5", CPU)


def test_every_layer_has_its_own_line_between_samples(tmp_path: Path) -> None:
    path = nvidia_file(tmp_path / "g.pkl", random_state("skip"))
    source = f"{path}?truncate=C:0.4&cutoff=2"
    pq.write_table(pa.table({"start": [5, 7], "end": [6, 6]}), tmp_path / "ends.parquet")
    paths = InterpolatedPaths(source, str(tmp_path / "ends.parquet"), 3)
    w, ends = paths.latents(np.arange(6)), sample_w(open_source(source, CPU), np.array([5, 6, 7]))
    assert w.shape == (6, 6, W)
    np.testing.assert_allclose(w[1], (ends[0] + ends[1]) / 2, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(w[3], (3 * ends[2] + ends[1]) / 4, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(paths(np.array([4]))[0], paths(np.arange(6))[4])


def test_a_cutoff_is_a_setting_and_a_part_of_the_spec() -> None:
    source = "latent_sources:LayeredFlow?truncate=C:0.4&mean=all"
    setting = {
        "truncate": "clamp", "amount": 0.4, "mean": "all", "base": "latent_sources:LayeredFlow",
    }  # fmt: skip
    assert parse_setting(source) == setting
    assert parse_setting(f"{source}&cutoff=3") == {**setting, "cutoff": "3"}
    plain, some = open_source(source, CPU).spec, open_source(f"{source}&cutoff=3", CPU).spec
    assert some == {**plain, "cutoff": 3}


def test_a_layer_count_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import latent_sources

    monkeypatch.setattr(latent_sources.LayeredFlow, "layer_count", "four")
    with pytest.raises(SourceError, match="layer_count of .* is 'four', expected an int from 1 on"):
        open_source("latent_sources:LayeredFlow?truncate=C:0.4&cutoff=2", CPU)
