"""Heatmaps on actors, and the check by noise."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics import results
from raymetrics.cli.heatmap import heatmap
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.generators.source_settings import parse_setting
from raymetrics.reports.heatmap_page import noise_points, noise_sentences
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.heatmap import noise_check
from raymetrics.studies.heatmap.compute import heatmaps, mean_heatmaps, write_heatmap_arrays
from raymetrics.studies.heatmap.request import HeatmapRequest, make_heatmap_request
from tests.helpers.tiny_networks import NAME, SPOTS, register_tiny

NETWORK = "efficientnet-lite0"
IDS = range(1016, 1032)  # of two ranges


@pytest.fixture(scope="module")
def asked(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> HeatmapRequest:
    """Digits of a generator against real ones."""
    folder = tmp_path_factory.mktemp("sets")
    with session(local=True):
        extract("mnist", [NETWORK], str(folder / "real"), range(16))
        extract("digits", [NETWORK], str(folder / "generated"), IDS, shard_rows=16)
    return make_heatmap_request(
        real=str(folder / "real"), generated=str(folder / "generated"), run_code=True
    )


@pytest.mark.parametrize(
    "resources",
    [Resources(local=True), pytest.param(Resources(actors=2), marks=pytest.mark.slow)],
    ids=["local", "actors"],
)
def test_ranges_have_the_bits_of_single_samples(
    asked: HeatmapRequest, tmp_path: Path, resources: Resources
) -> None:
    found = mean_heatmaps(asked, str(tmp_path), (), resources=resources)
    assert found.ranges_made == 2
    _, seen = heatmaps(asked, np.array(IDS))
    for name in ("sample_ids", "maps", "norms", "classes", "probabilities"):
        np.testing.assert_array_equal(getattr(found.heatmaps, name), getattr(seen, name))


def of_few(asked: HeatmapRequest, uri: str) -> SimpleNamespace:
    """The Frechet distance of few samples of many dimensions: its root has the singular values of
    the products of all pairs."""
    shards = open_shards(uri)
    sides = [asked.real.read(asked.column.name), shards.read(asked.column.name)]
    means = [side.mean(axis=0, dtype=np.float64) for side in sides]
    x, y = ((side - mean) / np.sqrt(len(side) - 1) for side, mean in zip(sides, means, strict=True))
    root = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    value = ((means[0] - means[1]) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * root
    return SimpleNamespace(value=float(value), setting=parse_setting(shards.spec.source))


def test_noise_costs_most_where_the_distance_looks(
    asked: HeatmapRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise_check, "frechet_result", of_few)
    _, seen = heatmaps(asked, np.array(IDS))
    write_heatmap_arrays(str(tmp_path), "maps.npz", seen)
    with session(local=True):
        distances = noise_check.noise_distances(asked, tmp_path / "maps.npz", tmp_path, [0.2])
    points = noise_points(distances)
    values = {(point.region, point.scale): point.value for point in points}
    assert values["everywhere", 0.2] >= values["important", 0.2] > values["unimportant", 0.2]
    assert values["unimportant", 0.2] > values["important", 0.0]
    assert noise_sentences(points)[0].endswith("; as expected")


def test_noise_on_the_terminal(tmp_path: Path) -> None:
    with register_tiny(), session(local=True):
        for side, ids in (("real", range(60)), ("generated", range(100, 150))):
            extract(SPOTS, [NAME], str(tmp_path / side), ids)
        words = ["--real", str(tmp_path / "real"), "--generated", str(tmp_path / "generated")]
        to = tmp_path / "to"
        words += ["--to", str(to), "--samples", "100-102", "--noise", "0.5", "--run-code"]
        done = CliRunner().invoke(heatmap, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "noise of 0.5: important half " in done.output
    found = results.read_results(to / "results.jsonl")
    assert [result.label for result in found] == ["FD untrained-tiny"] * 4
    assert [(p.region, p.scale) for p in noise_points(found)[3:]] == [
        ("important", 0.5), ("unimportant", 0.5), ("everywhere", 0.5),
    ]  # fmt: skip
    assert noise_points(found)[5].value > noise_points(found)[0].value
    page = (to / "index.html").read_text()
    assert "<svg" in page
    assert "noise of 0.5: important half " in page
