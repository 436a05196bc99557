"""Straight paths in W between samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.latents import sample_w, w_estimation
from raymetrics.generators.latents.interpolated_paths import InterpolatedPaths, paths_source

CPU = torch.device("cpu")
START, END = [5, 107, 3], [6, 2, 3]


@pytest.fixture(autouse=True)
def weights_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYMETRICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(w_estimation, "DRAWS", 2000)


@pytest.fixture
def ends(tmp_path: Path) -> str:
    return written(tmp_path, {"start": START, "end": END})


def written(folder: Path, columns: dict[str, list[int] | pa.Array]) -> str:
    pq.write_table(pa.table(columns), folder / "ends.parquet")
    return str(folder / "ends.parquet")


@pytest.mark.parametrize(
    "source",
    ["latent_sources:Flow", "latent_sources:Flow?truncate=B:0.3&classes=2", "digits", "faces"],
)
def test_images_lie_on_straight_lines(source: str, ends: str, device: torch.device) -> None:
    inner, paths = open_source(source, device), InterpolatedPaths(source, ends, 4, device)
    assert paths.length == 12
    start, end = sample_w(inner, np.array(START)), sample_w(inner, np.array(END))
    ids = np.arange(12)
    w = paths.latents(ids).reshape(3, 4, -1)
    for step, t in enumerate((0.2, 0.4, 0.6, 0.8)):
        expected = (1 - t) * start.astype(np.float64) + t * end
        np.testing.assert_allclose(w[:, step], expected, rtol=1e-6, atol=1e-6)
    # From a sample to itself there is no way to go.
    np.testing.assert_array_equal(w[2], np.tile(start[2], (4, 1)))
    # As the bits of a source that is asked by itself, whatever else is asked for.
    images = paths(ids)
    for k in (0, 5, 11):
        np.testing.assert_array_equal(paths(np.array([k]))[0], images[k])


def test_many_steps_come_near_to_the_ends(ends: str) -> None:
    paths, inner = InterpolatedPaths("digits", ends, "9999"), open_source("digits", CPU)
    first_and_last = paths(np.array([0, 9998])).astype(int)
    of_the_ends = inner(np.array([START[0], END[0]])).astype(int)
    assert np.abs(first_and_last - of_the_ends).max() <= 2


def test_a_source_by_its_name(ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "digits?snapshot=400&truncate=D:0.5"
    text = paths_source(source, "ends.parquet", 3)
    assert "%3Fsnapshot%3D400%26truncate%3DD:0.5" in text
    assert f"ends={ends}" in text
    generator, direct = open_source(text, CPU), InterpolatedPaths(source, ends, 3)
    np.testing.assert_array_equal(generator(np.arange(9)), direct(np.arange(9)))
    assert (generator.length, generator.labels(np.arange(9))) == (9, None)
    assert generator.spec["spec"] == direct.spec
    others = [InterpolatedPaths(source, ends, 4), InterpolatedPaths("digits", ends, 3)]
    (tmp_path / "other").mkdir()
    others.append(
        InterpolatedPaths(source, written(tmp_path / "other", {"start": END, "end": START}), 3)
    )
    assert all(direct.spec != variant.spec for variant in others)


def test_the_text_of_earlier_versions_opens_the_same_source(ends: str) -> None:
    options = f"?of=digits&ends={ends}&steps=3"
    former = open_source(f"raymetrics.generators.latents.paths:Paths{options}", CPU)
    current = open_source(paths_source("digits", ends, 3), CPU)
    assert former.name == "raymetrics.generators.latents.interpolated_paths:InterpolatedPaths"
    assert former.spec == current.spec
    np.testing.assert_array_equal(former(np.arange(9)), current(np.arange(9)))


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"start": [1]}, r"has 1 rows of \{'start': 'int64'\}, expected .* start and end"),
        ({"start": [1.0], "end": [2]}, "expected a row for every path"),
        ({"start": pa.array([1, None]), "end": [2, 3]}, "expected a row for every path"),
        ({"start": pa.array([], pa.int64()), "end": pa.array([], pa.int64())}, "has 0 rows"),
        ({"start": [-1], "end": [2]}, "sample ids -1-2, but latent_sources:Flow has 0-8"),
        ({"start": [1], "end": [9]}, "sample ids 1-9, but latent_sources:Flow has 0-8"),
    ],
)
def test_ends_that_are_none(
    columns: dict[str, list[int] | pa.Array], what: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=what):
        InterpolatedPaths("latent_sources:Flow?length=9", written(tmp_path, columns), 4)


def test_other_errors(ends: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="mnist is no latent generator"):
        InterpolatedPaths("mnist", ends, 4)
    with pytest.raises(SourceError, match="steps is 0, expected .* at least 1"):
        InterpolatedPaths("digits", ends, 0)
    with pytest.raises(SourceError, match=r"cannot read .*none\.parquet: FileNotFoundError"):
        InterpolatedPaths("digits", str(tmp_path / "none.parquet"), 4)
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(SourceError, match=r"cannot read the ends of paths in .*text\.parquet"):
        InterpolatedPaths("digits", str(tmp_path / "text.parquet"), 4)
