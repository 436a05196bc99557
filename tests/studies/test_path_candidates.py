"""Candidates of path ends: as many as it takes, whatever the rounds, and never one twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import raymetrics as rm
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.resources import Resources
from raymetrics.errors import NotEnoughData, RaymetricsError, ShardError
from raymetrics.generators import open_source
from raymetrics.reports.realism_page import summary_sentences
from raymetrics.results import Result
from raymetrics.shards.open_view import open_view
from raymetrics.shards.view import View
from raymetrics.studies import interpolate as study
from raymetrics.studies import path_candidates
from raymetrics.studies.interpolate import StrayRule
from raymetrics.studies.path_candidates import EndSearch, draw_candidates
from tests.helpers import ring_world

SOURCE = "ring_world:LatentSource"
PATHS = 40


def view_of(count: int) -> View:
    """Return a view of samples whose features nobody reads."""
    no_shards: Any = None
    return View(no_shards, (range(count),))


def first_ends(realism: np.ndarray, needed: int) -> list[int]:
    """Return the ends by a plain loop over all candidates."""
    found: list[int] = []
    for candidate, value in enumerate(realism.tolist()):
        if value >= 1 and len(found) < needed:
            found.append(candidate)
    return found


@pytest.mark.parametrize("shard_rows", [1, 7, 2048])
@pytest.mark.parametrize(("share", "needed"), [(0.5, 300), (0.02, 60), (0.002, 20), (1.0, 300)])
def test_the_ends_are_those_of_a_plain_loop(
    shard_rows: int, share: float, needed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path_candidates, "_FIRST_LOOK", 32)
    realism = np.where(np.random.default_rng(5).random(100_000) < share, 1.2, 0.8)
    scored: list[np.ndarray] = []
    drawn: list[int] = []

    def draw(count: int) -> View:
        drawn.append(count)
        return view_of(count)

    def score(view: View) -> np.ndarray:
        scored.append(view.sample_ids)
        return realism[view.sample_ids]

    search = EndSearch(needed, 1.0, len(realism), shard_rows)
    view, found = draw_candidates(
        view_of(search.first_count()), draw, score, search, lambda line: None
    )
    np.testing.assert_array_equal(np.concatenate(scored), view.sample_ids)  # each of them once
    np.testing.assert_array_equal(found, realism[: len(view)])
    ends = np.flatnonzero(found >= 1)[:needed].tolist()
    assert ends == first_ends(realism, needed)
    assert len(ends) == needed
    assert drawn == sorted(set(drawn))
    # No more than the shares at hand predicted: few candidates too many, and never a whole limit.
    assert len(view) < 1.6 * ends[-1] + shard_rows + 100


def test_the_limit_ends_the_search() -> None:
    told: list[str] = []
    search = EndSearch(100, 1.0, 500, 64)
    view, found = draw_candidates(
        view_of(search.first_count()), view_of, lambda v: np.zeros(len(v)), search, told.append
    )
    assert (len(view), len(found)) == (500, 500)
    assert told == ["0 of 128 candidates have R >= 1; at most 500 are looked at"]
    # Where more are there than may be looked at, the first of them are.
    view, _ = draw_candidates(
        view_of(900), view_of, lambda v: np.zeros(len(v)), search, told.append
    )
    assert len(view) == 500
    with pytest.raises(NotEnoughData, match="max_candidates is 1; a path takes 2 ends"):
        EndSearch(100, 1.0, 1, 64)


def test_the_prediction_is_the_rule_of_three() -> None:
    search = EndSearch(1_000_000, 1.0, 5_000_000, 2048)
    assert search.first_count() == 4096
    assert search.describe(4096, 1229) == (
        "1229 of 4096 candidates have R >= 1; 1000000 ends take about 3332791 candidates"
    )
    assert search.next_count(4096, 1229) == 8 * 4096
    assert search.next_count(2_000_000, 600_000) == 3_334_144  # whole shards
    assert search.describe(4096, 410).endswith(
        "9990244 candidates, but at most 5000000 are looked at, which gives about 250244 paths"
    )
    assert search.next_count(2_000_000, 200_000) == 5_000_000


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("ring")
    with ring_world.disable_ray(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(path_candidates, "_FIRST_LOOK", 32)
        yield ring_world.write_sets(folder, 1)["real"]


def run(real: str, to: Path, **options: Any) -> tuple[list[Result], str]:
    """Return the numbers of paths, and what was said meanwhile."""
    told: list[str] = []
    paths = rm.interpolate(
        real=real, generated=SOURCE, to=str(to), paths=PATHS, rule=StrayRule(steps=2),
        column=ring_world.COLUMN, run_code=True, on_message=told.append, **options,
    )  # fmt: skip
    return paths.results, "\n".join(told)


def ends_of(to: Path) -> list[int]:
    table = pq.read_table(to / "ends.parquet")
    return np.column_stack([table["start"], table["end"]]).ravel().tolist()


def all_realism(real: str) -> np.ndarray:
    """Compute Equation 3 of the first 1000 samples by its text."""
    import torch

    images = open_source(SOURCE, torch.device("cpu"))(np.arange(1000))
    return ring_world.realism(
        open_view(real).read(ring_world.COLUMN), images[:, :2, 0, 0].astype(np.float32)
    )


def shard_times(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("samples-*.parquet")}


@pytest.mark.parametrize(("shard_rows", "actors"), [(64, 1), (9, 2)])
def test_a_source_is_drawn_on_until_there_are_enough(
    real: str, tmp_path: Path, shard_rows: int, actors: int
) -> None:
    (share, _), told = run(
        real, tmp_path, shard_rows=shard_rows, resources=Resources(actors=actors)
    )
    realism = all_realism(real)
    assert ends_of(tmp_path) == first_ends(realism, 2 * PATHS)
    assert "80 ends take about" in told
    assert share.details["paths"] == PATHS
    drawn = open_view(str(tmp_path / "candidates"))
    assert share.details["ends"]["count"] == len(drawn) < 400
    realistic = (realism[: len(drawn)] >= 1).sum()
    assert share.details["realistic_candidates"] == realistic
    (sentence,) = summary_sentences([share])
    assert f"looked for among {len(drawn)} samples; {realistic} have R >= 1." in sentence


def test_what_stops_a_search_costs_no_candidate_twice(
    real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def extract_twice(*args: Any, **options: Any) -> object:
        calls.append(args)
        extraction = study_extract(*args, **options)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return extraction

    study_extract = study.extract
    with monkeypatch.context() as patch:
        patch.setattr(study, "extract", extract_twice)
        with pytest.raises(KeyboardInterrupt):
            run(real, tmp_path / "a", shard_rows=16)
    made = shard_times(tmp_path / "a" / "candidates")
    assert len(made) > 2
    assert not (tmp_path / "a" / "ends.parquet").exists()
    for to in ("a", "b"):
        run(real, tmp_path / to, shard_rows=16)
    after = shard_times(tmp_path / "a" / "candidates")
    assert {name: after[name] for name in made} == made
    assert (tmp_path / "a/ends.parquet").read_bytes() == (tmp_path / "b/ends.parquet").read_bytes()
    assert after.keys() == shard_times(tmp_path / "b" / "candidates").keys()


def test_with_too_few_ends_there_are_fewer_paths_or_none(real: str, tmp_path: Path) -> None:
    realism = all_realism(real)
    few: dict[str, Any] = {"shard_rows": 16, "max_candidates": 60}
    _, told = run(real, tmp_path / "part", **few)
    count = int((realism[:60] >= 1).sum())
    assert f"only {count // 2} of {PATHS} paths: {count} of 60 samples have R >= 1" in told
    assert "look at more, --max-candidates N for the rest" in told
    assert f"which gives about {60 * int((realism[:32] >= 1).sum()) // 32 // 2} paths" in told
    assert ends_of(tmp_path / "part") == first_ends(realism, 2 * PATHS)[: count // 2 * 2]
    with pytest.raises(ShardError, match="choose another --to, or remove .*part/shards"):
        run(real, tmp_path / "part", shard_rows=16)

    whole = tmp_path / "whole"
    with pytest.raises(NotEnoughData, match=f"only {count // 2} of {PATHS} paths"):
        run(real, whole, **few, on_unfilled="fail")
    assert [path.name for path in whole.iterdir()] == ["candidates"]
    made = shard_times(whole / "candidates")
    run(real, whole, shard_rows=16)
    assert ends_of(whole) == first_ends(realism, 2 * PATHS)
    after = shard_times(whole / "candidates")
    assert {name: after[name] for name in made} == made


def test_a_set_has_no_more_candidates_than_it_has(real: str, tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="on_unfilled is 'wait', expected stop or fail"):
        run(real, tmp_path / "to", on_unfilled="wait")
    generated = str(tmp_path / "generated")
    extract(SOURCE, [ring_world.EXTRACTOR], generated, range(50), shard_rows=64)
    told: list[str] = []
    rm.interpolate(
        real=real, generated=generated, to=str(tmp_path / "to"), paths=PATHS, run_code=True,
        column=ring_world.COLUMN, on_message=told.append, rule=StrayRule(steps=2),
    )  # fmt: skip
    count = int((all_realism(real)[:50] >= 1).sum())
    assert f"{count} of 50 samples have R >= 1, 80 are needed; extract more for the rest" in told[1]
    assert len(open_view(generated)) == 50
