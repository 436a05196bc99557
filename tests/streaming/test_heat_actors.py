"""Heatmaps on actors, and the check by noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from raymetrics.evaluation.noise import noise_distances
from raymetrics.reports.noise import in_words, noise_figure, noise_points
from raymetrics.streaming.extract import extract
from raymetrics.streaming.heat import heatmaps, mean_heatmaps, write_arrays
from raymetrics.streaming.heat_request import HeatRequest, requested
from raymetrics.streaming.resources import Resources

NETWORK = "efficientnet-lite0"
IDS = range(1016, 1032)  # of two ranges


@pytest.fixture(scope="module")
def asked(no_actors: None, tmp_path_factory: pytest.TempPathFactory) -> HeatRequest:
    """Digits of a generator against real ones."""
    folder = tmp_path_factory.mktemp("sets")
    extract("mnist", [NETWORK], str(folder / "real"), range(16))
    extract("digits", [NETWORK], str(folder / "generated"), IDS, shard_rows=16)
    return requested(real=str(folder / "real"), generated=str(folder / "generated"))


def test_actors_find_the_bits_of_one_process(asked: HeatRequest, tmp_path: Path) -> None:
    found = mean_heatmaps(asked, str(tmp_path), (), resources=Resources(actors=2))
    assert found.made == 2
    _, seen = heatmaps(asked, np.array(IDS))
    for name in ("sample_ids", "maps", "norms", "classes", "probabilities"):
        np.testing.assert_array_equal(getattr(found.seen, name), getattr(seen, name))


def test_noise_costs_most_where_the_distance_looks(asked: HeatRequest, tmp_path: Path) -> None:
    _, seen = heatmaps(asked, np.array(IDS))
    write_arrays(str(tmp_path), "maps.npz", seen)
    found = noise_distances(asked, tmp_path / "maps.npz", tmp_path, [0.2])
    points = noise_points(found)
    values = {(point.where, point.scale): point.value for point in points}
    clean = values["important", 0.0]
    assert values["everywhere", 0.2] >= values["important", 0.2] > values["unimportant", 0.2]
    assert values["unimportant", 0.2] > clean
    assert in_words(points)[0].endswith("; as expected")
    assert noise_figure(points, found[0].label).startswith("<svg")
