"""Interpolation paths: which stray, and the stream of their images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import results
from raymetrics.cli.interpolate import interpolate, paths
from raymetrics.distributed.extraction.extract import extract
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError, SourceError
from raymetrics.reports.realism_page import realism_curve, realism_tile
from raymetrics.shards.open_view import open_view
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.interpolate import (
    StrayRule,
    confidence_interval,
    paths_best_to_worst,
)
from raymetrics.studies.path_ends import PathEnds, choose_ends, write_ends
from tests.conftest import write_set
from tests.helpers import ring_world


def test_which_paths_stray() -> None:
    """More than a quarter of the images between, with R below 0.9."""
    near, far = [1.2, 0.9, np.inf, 0.95, 1.0, 3.0], [0.89, 0.0, 0.5]
    nine = np.array([[*near, 1.0, *far[:2]], near + far])  # 2 and 3 of 9
    assert StrayRule().strays(nine).tolist() == [False, True]
    eight = np.array([near + far[:2], near[:5] + far])  # a quarter itself, and 3 of 8
    assert StrayRule().strays(eight).tolist() == [False, True]
    assert StrayRule(below=0.4).strays(nine).tolist() == [False, False]
    assert StrayRule(more_than=0.0).strays(nine).tolist() == [True, True]
    assert StrayRule(below=0.0).strays(np.zeros((1, 3))).tolist() == [False]
    for wrong in ({"steps": 0}, {"more_than": 1.0}, {"below": np.nan}, {"ends": -1.0}):
        with pytest.raises(RaymetricsError, match=next(iter(wrong))):
            StrayRule(**wrong)


def test_the_interval_in_closed_form() -> None:
    """Clopper & Pearson: of none and of all the bounds are roots; else quantiles of beta."""
    n, half = 40, 0.025
    assert confidence_interval(0, n) == pytest.approx([0, 1 - half ** (1 / n)])
    assert confidence_interval(n, n) == pytest.approx([half ** (1 / n), 1])
    beta = scipy.stats.beta
    expected = [beta.ppf(half, 24, 651), beta.ppf(1 - half, 25, 650)]
    assert confidence_interval(24, 674) == pytest.approx(expected)


def test_paths_by_their_lowest_realism() -> None:
    lowest = np.array([0.5, 1.5, 0.1, np.inf, 0.5])
    realism = np.stack([np.full(5, np.inf), lowest], axis=1)
    assert paths_best_to_worst(realism) == [3, 1, 0, 4, 2]
    many = paths_best_to_worst(
        np.random.default_rng(0).permutation(1000.0 + np.arange(100))[:, None]
    )
    assert len(many) == 8
    assert paths_best_to_worst(np.arange(100.0)[:, None])[0::7] == [99, 0]


def test_ends_are_pairs_of_realistic_samples_by_id() -> None:
    ids = np.array([3, 5, 8, 9, 11, 20, 21])
    realism = np.array([1.0, 0.99, np.inf, 2.0, 1.5, 0.0, 1.1])
    told: list[str] = []
    found = choose_ends(ids, realism, 1, 1.0, told.append)
    assert (found.ids.tolist(), told) == ([[3, 8]], [])
    found = choose_ends(ids, realism, 3, 1.0, told.append)
    assert found.ids.tolist() == [[3, 8], [9, 11]]
    assert found.realism.tolist() == [[1.0, np.inf], [2.0, 1.5]]
    assert told == [
        "only 2 of 3 paths: 5 of 7 samples have R >= 1, 6 are needed; extract more for the rest"
    ]
    assert choose_ends(ids, realism, 3, 0.0, told.append).ids.tolist() == [[3, 5], [8, 9], [11, 20]]
    with pytest.raises(NotEnoughData, match="no path has two ends: 1 of 7 samples have R >= 2.5"):
        choose_ends(ids, realism, 3, 2.5, told.append)


def test_a_file_of_ends_belongs_to_its_shards(tmp_path: Path) -> None:
    file = tmp_path / "ends.parquet"
    ends = PathEnds(np.array([[1, 2], [5, 9]]), np.ones((2, 2)))
    assert write_ends(str(tmp_path), ends) == str(file)
    assert pq.read_table(file).to_pydict() == {"start": [1, 5], "end": [2, 9]}
    # Another program's file of the same ends is taken for what it is.
    pq.write_table(pq.read_table(file), file, compression="none")
    before = file.read_bytes()
    write_set(str(tmp_path / "shards"), {"features": np.zeros((2, 2), np.float32)})
    write_ends(str(tmp_path), ends)
    assert file.read_bytes() == before
    other = PathEnds(ends.ids + 1, ends.realism)
    with pytest.raises(ShardError, match="holds 2 paths and .*/shards their images, but 2 paths"):
        write_ends(str(tmp_path), other)
    assert file.read_bytes() == before
    file.write_bytes(b"damaged")
    with pytest.raises(ShardError, match="holds unreadable paths"):
        write_ends(str(tmp_path), ends)
    (tmp_path / "shards" / "dataset.json").unlink()
    write_ends(str(tmp_path), other)
    assert pa.table({"start": other.ids[:, 0], "end": other.ids[:, 1]}).equals(pq.read_table(file))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with ring_world.disable_ray():
        yield ring_world.write_sets(tmp_path_factory.mktemp("ring"))


def run(sides: dict[str, str], to: Path, *words: str) -> tuple[int, str]:
    asked = ["--real", sides["real"], "--generated", sides["generated"], "--to", str(to)]
    done = CliRunner().invoke(interpolate, [*asked, *words], catch_exceptions=False)
    return done.exit_code, done.output


ASKED = (
    "--run-code",
    "--paths",
    "60",
    "--steps",
    "5",
    "--column",
    ring_world.COLUMN,
    "--shard-rows",
    "64",
)


def test_paths_across_the_ring_stray(sides: dict[str, str], tmp_path: Path) -> None:
    """Everything from the ends to the page, against Equation 3 by its text; then again."""
    code, output = run(sides, tmp_path, *ASKED)
    assert code == 0, output
    real, generated = (open_view(sides[s]).read(ring_world.COLUMN) for s in ("real", "generated"))
    realistic = np.flatnonzero(ring_world.realism(real, generated) >= 1)
    count = min(60, len(realistic) // 2)
    pairs = realistic[: 2 * count].reshape(count, 2)
    ends = pq.read_table(tmp_path / "ends.parquet")
    np.testing.assert_array_equal(np.column_stack([ends["start"], ends["end"]]), pairs)
    assert (f"only {count} of 60 paths" in output) == (count < 60)

    images = open_view(str(tmp_path / "shards"))
    places = images.read(ring_world.COLUMN)
    expected = ring_world.expected_path(tmp_path / "ends.parquet", 5).reshape(-1, 2)
    assert np.abs(places - expected).max() <= 1  # a half may be rounded either way
    assert (places == expected).mean() > 0.99
    scores = ring_world.realism(real, places)
    kept = pq.read_table(tmp_path / "realism.parquet")
    np.testing.assert_allclose(kept[f"realism_{ring_world.COLUMN}"], scores, rtol=1e-12)
    strays = (scores.reshape(count, 5) < 0.9).sum(axis=1) > 1
    assert 0 < strays.sum() < count
    share, within = results.read_results(tmp_path / "results.jsonl")
    assert share.value == strays.mean()
    assert share.details["straying"] == strays.sum()
    low, high = share.details["interval"]
    assert low < share.value < high
    same = pairs[:, 0] % 3 == pairs[:, 1] % 3
    assert (within.value, within.details["paths"]) == (strays[same].mean(), same.sum())
    assert f"{100 * share.value:.1f} % of {count} paths stray" in output
    assert f"{100 * within.value:.1f} % of {same.sum()} paths within a class stray" in output
    # Those that cross the middle of the ring are among them.
    middle = np.linalg.norm(expected.reshape(count, 5, 2)[:, 2] - 128, axis=1) < 40
    assert middle.any()
    assert strays[middle].all()

    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").glob("*.parquet")}
    assert len(before) == -(-5 * count // 64)
    code, output = run(sides, tmp_path, *ASKED)
    assert (code, "rows/s" in output) == (0, False)
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "shards").glob("*.parquet")} == before
    assert (tmp_path / "shards" / "manifest.json").exists()
    again = results.read_results(tmp_path / "results.jsonl")
    assert [r.value for r in again] == 2 * [share.value, within.value]

    shown = share.details["shown"]
    lowest = [min(np.inf if r is None else r for r in path["realism"][1:-1]) for path in shown]
    assert lowest == sorted(lowest, reverse=True)
    text = (tmp_path / "index.html").read_text()
    tiles = re.findall(r'<img src="(.*?)"', text)
    assert (len(tiles), text.count("<svg")) == (7 * len(shown), len(shown))
    first, last = shown[0], shown[-1]
    for path, strip in ((first, tiles[:7]), (last, tiles[-7:])):
        ids = np.array([path["start"], path["end"]])
        assert [realism_tile(i, 0).image for i in ring_world.LatentSource()(ids)] == [
            strip[0],
            strip[-1],
        ]
    assert ">strays<" in text


def test_a_source_gives_its_candidates_first(sides: dict[str, str], tmp_path: Path) -> None:
    from_set = rm.interpolate(
        real=sides["real"], generated=sides["generated"], to=str(tmp_path / "a"), paths=5,
        column=ring_world.COLUMN, run_code=True,
    ).results  # fmt: skip
    source = {**sides, "generated": "ring_world:LatentSource"}
    asked = ("--run-code", "--paths", "5", "--candidates", "200", "--column", ring_world.COLUMN)
    code, output = run(source, tmp_path / "b", *asked)
    assert code == 0, output
    assert len(open_shards(str(tmp_path / "b" / "candidates"))) == 200
    found = results.read_results(tmp_path / "b" / "results.jsonl")
    assert [r.value for r in found] == [r.value for r in from_set]
    assert found[0].generated.digest == from_set[0].generated.digest
    # More paths are other ends: the images that are there are not theirs.
    with pytest.raises(ShardError, match="holds 5 paths .* but 6 paths between other samples"):
        rm.interpolate(
            real=sides["real"], generated=sides["generated"], to=str(tmp_path / "a"), paths=6,
            column=ring_world.COLUMN, run_code=True,
        )  # fmt: skip


def test_the_former_name_says_the_new_one() -> None:
    done = CliRunner().invoke(
        paths, ["--real", "x", "--generated", "y", "--to", "", "--steps", "3"]
    )
    first, second = done.stderr.splitlines()
    assert first == "`raymetrics paths` is called `raymetrics interpolate` now"
    assert (done.exit_code, second.startswith("error: ")) == (2, True)


def test_what_has_no_latents_or_changed_is_refused(sides: dict[str, str], tmp_path: Path) -> None:
    for source in ("ring_world:RealSource", sides["real"]):
        with pytest.raises(SourceError, match="no latent generator"):
            rm.interpolate(
                real=sides["real"], generated=source, to=str(tmp_path / "to"),
                column=ring_world.COLUMN,
                run_code=True,
            )  # fmt: skip
    moved = str(tmp_path / "moved")
    extract("ring_world:LatentSource?shift=1", [ring_world.EXTRACTOR], moved, range(20))
    file = Path(moved, "dataset.json")
    file.write_text(
        file.read_text().replace("ring_world:LatentSource?shift=1", "ring_world:LatentSource")
    )
    with pytest.raises(SourceError, match="no longer what .* was made from"):
        rm.interpolate(real=sides["real"], generated=moved, to=str(tmp_path / "to"), run_code=True)
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--paths", "0"], "paths is 0, expected at least 1"),
        (["--steps", "0"], "steps is 0, expected at least 1"),
        (["--more-than", "25"], "more_than is 25.0, expected a share"),
        (["--ends", "nan"], "ends is nan, expected R of at least 0"),
        (["--column", "x"], "column 'x' is not in both sets"),
        (["--k", "300"], "it takes at least 301: extract more"),
        (["--generated", "ring_world:Nothing"], "ring_world has no 'Nothing'"),
        (["--real", "nowhere"], "no shard set at nowhere"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(
    sides: dict[str, str], tmp_path: Path, words: list[str], message: str
) -> None:
    code, output = run(sides, tmp_path / "to", "--run-code", *words)
    errors = [line for line in output.splitlines() if not line.startswith("looking for ends")]
    assert (code, len(errors), (tmp_path / "to").exists()) == (2, 1, False)
    assert errors[0].startswith("error: ")
    assert message in errors[0]


def test_a_curve_of_infinite_realism() -> None:
    assert realism_curve([None, 0.5, 2.0], 0.9, 2.2).startswith("<svg")
