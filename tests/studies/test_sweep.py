"""Sweeps of plans: what is made, what is measured, what fails, and what is not made twice."""

from __future__ import annotations

import collections
import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import sources
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import results
from raymetrics.cli.sweep import sweep as verb
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.errors import (
    ExtractorError,
    NotEnoughData,
    RaymetricsError,
    SampleRangeError,
    SourceError,
    StorageUnavailable,
)
from raymetrics.results import Failure
from raymetrics.studies import sweep as sweeping
from raymetrics.studies.sweep import SweepOutcome, sweep

pytestmark = pytest.mark.usefixtures("no_actors")

REAL = {"real_source": "sources:Brightness", "real_samples": "0-59", "extractors": ["digits"]}
GREYS = [{"source": "sources:Brightness", "offset": [10, 20]}]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[tuple[int, int]]:
    """How often every image was made, by offset and sample id."""
    counted: collections.Counter[tuple[int, int]] = collections.Counter()
    plain = sources.Brightness.__call__

    def counting(self: sources.Brightness, sample_ids: np.ndarray) -> np.ndarray:
        counted.update((self.offset, int(k)) for k in sample_ids)
        return plain(self, sample_ids)

    monkeypatch.setattr(sources.Brightness, "__call__", counting)
    monkeypatch.setattr(sources.Brightness, "trial", False, raising=False)  # it would count too
    return counted


def run(*arguments: str) -> tuple[int, str]:
    """Exit code, and what was printed."""
    done = CliRunner().invoke(verb, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_killed_sweep_makes_what_is_missing(
    tmp_path: Path, made: collections.Counter[tuple[int, int]]
) -> None:
    """Every image once, over both runs together; the same numbers as undisturbed."""
    asked = {**REAL, "metrics": ["fid"], "shard_rows": 20, "to": str(tmp_path / "a")}

    def stop(progress: Progress) -> None:
        if progress.rows == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(GREYS, **asked, progress=stop)
    assert len(made) == 100
    found = sweep(GREYS, **asked)
    assert set(made) == set(itertools.product((0, 10, 20), range(60)))
    assert set(made.values()) == {1}
    assert [r.row["offset"] for r in found.results] == ["10", "20"]
    undisturbed = sweep(GREYS, **{**asked, "to": str(tmp_path / "b")})
    assert [r.value for r in undisturbed.results] == [r.value for r in found.results]
    assert [r.generated.digest for r in undisturbed.results] == [
        r.generated.digest for r in found.results
    ]


def test_rows_that_fail_do_not_stop_the_others(
    tmp_path: Path, made: collections.Counter[tuple[int, int]]
) -> None:
    """A file that is not there, images that cannot be made, too few samples for a number."""
    plan = tmp_path / "plan.csv"
    plan.write_text(
        "name,source,samples,offset\n"
        f"gone,{tmp_path}/gone.pkl,,\n"
        "first,sources:Brightness,,1\n"
        "broken,sources:fails_at_sixty,,\n"
        "one,sources:Brightness,7-7,5\n"
        "odd,sources:Brightness,,1.5\n"
        "other,sources:Brightness,100-179,2\n"
    )
    to = tmp_path / "out"
    asked = [
        "--real-source", "sources:Brightness", "--real-samples", "0-79", "--extractor", "digits",
        "--to", str(to), "--metrics", "fid", "--shard-rows", "40", "--run-code",
    ]  # fmt: skip
    code, text = run(str(plan), *asked)
    assert code == 3, text
    failed = results.read_failures(to / "results.jsonl")
    assert [(f.name, f.error) for f in failed] == [
        ("gone", "SourceError"), ("broken", "SourceError"), ("one", "NotEnoughData"),
        ("odd", "SourceError"),
    ]  # fmt: skip
    assert "no such latent" in failed[1].message
    assert failed[2].row["samples"] == "7-7"
    page = (to / "index.html").read_text()
    assert all(f"failed: {f.name}: {f.message}" in text for f in failed)
    assert all(f"<td>{f.name}</td><td>{f.error}</td>" in page for f in failed)
    found = results.read_results(to / "results.jsonl")
    assert [(r.row["name"], r.generated.samples) for r in found] == [
        ("first", ("0-79",)), ("other", ("100-179",)),
    ]  # fmt: skip

    # What is wrong is put right: only that is made.
    before, shards = set(made), {path: path.stat().st_mtime_ns for path in to.rglob("*.parquet")}
    righted = plan.read_text().replace("7-7", "7-12").replace("1.5", "3").splitlines()
    plan.write_text("\n".join(x for x in righted if not x.startswith(("gone", "broken"))))
    code, text = run(str(plan), *asked)
    assert code == 0, text
    assert set(made) - before == {(5, k) for k in range(8, 13)} | {(3, k) for k in range(80)}
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert [r.row["name"] for r in results.read_results(to / "results.jsonl")] == [
        "first", "one", "odd", "other",
    ]  # fmt: skip
    assert results.read_failures(to / "results.jsonl") == []
    assert "Failed" not in (to / "index.html").read_text()


def test_numbers_are_those_of_sets_alone(tmp_path: Path) -> None:
    found = sweep(GREYS, **REAL, to=str(tmp_path / "sweep"), metrics=["fid", "pr"])
    rm.extract("sources:Brightness", ["digits"], str(tmp_path / "real"), "0-59")
    rm.extract("sources:Brightness?offset=20", ["digits"], str(tmp_path / "20"), "0-59")
    alone = rm.evaluate(
        real=str(tmp_path / "real"), generated=str(tmp_path / "20"), metrics=["fid", "pr"]
    )
    of_row = found.results_by_row["sources:Brightness?offset=20"]
    assert [r.value for r in of_row] == [r.value for r in alone]
    assert [r.row for r in of_row] == [{"source": "sources:Brightness", "offset": "20"}] * len(
        alone
    )

    # The same real set by name; the numbers are those that were kept, whatever a row is called.
    named = [{"name": "twenty", "source": "sources:Brightness?offset=20"}]
    (uri,) = {r.real.uri for r in of_row}
    again = sweep(named, real=uri, to=str(tmp_path / "sweep"), metrics=["fid", "pr"])
    assert [r.value for r in again.results_by_row["twenty"]] == [r.value for r in alone]
    assert [r.seconds for r in again.results] == [r.seconds for r in of_row]


def test_what_passes_ends_the_sweep_and_the_same_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away is no fault of a row."""
    plain, measured = sweeping.evaluate, []

    def evaluate(**asked: object) -> list[results.Result]:
        measured.append(asked["generated"])
        if len(measured) == 2:
            raise StorageUnavailable("the store does not answer; run the same command again")
        return plain(**asked)  # type: ignore[arg-type]

    monkeypatch.setattr(sweeping, "evaluate", evaluate)
    asked = {**REAL, "to": str(tmp_path), "metrics": ["fid"]}
    with pytest.raises(StorageUnavailable):
        sweep(GREYS, **asked)
    assert len(sweep(GREYS, **asked).results) == 2
    assert measured[0] != measured[1] == measured[2]
    assert len(measured) == 3


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        ({"real": "x"}, RaymetricsError, "either as a shard set or as a source"),
        ({"real_source": None}, RaymetricsError, "either as a shard set or as a source"),
        ({"real_samples": "0-1000"}, SampleRangeError, "has samples 0-999"),
        ({"real_source": "nothing"}, SourceError, "no source 'nothing'"),
        ({"real_source": "sources:fails_at_sixty", "real_samples": "0-99"}, SourceError, "latent"),
        ({"extractors": None}, ExtractorError, "no extractor"),
        ({"metrics": ["fidd"]}, RaymetricsError, "no metric 'fidd'"),
        ({"plan": [*GREYS, {"psi": 1}]}, RaymetricsError, "row 2: no column 'source'"),
    ],
)
def test_what_is_wrong_with_the_request_ends_it(
    tmp_path: Path, changes: dict[str, object], error: type[RaymetricsError], expected: str
) -> None:
    asked = {"plan": GREYS, **REAL, "to": str(tmp_path), **changes}
    with pytest.raises(error, match=expected):
        sweep(**asked)  # type: ignore[arg-type]


def test_where_nothing_succeeds_an_earlier_sweep_stays(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text("kept")
    plan = tmp_path / "plan.csv"
    plan.write_text("source,pssi\ndigits,0|1\n")
    code, text = run(
        str(plan), "--real-source", "mnist", "--real-samples", "0-9",
        "--extractor", "digits", "--to", str(tmp_path), "--metrics", "fid",
    )  # fmt: skip
    assert code == 2
    assert text.count("source 'digits' has no option 'pssi'") == 2
    assert (tmp_path / "results.jsonl").read_text() == "kept"


def test_newer_rows_take_the_place_of_older_ones() -> None:
    def failed(name: str) -> Failure:
        return Failure(name, name, {}, "SourceError", "gone")

    older = SweepOutcome({"a": [], "b": []}, [failed("c"), failed("d")])
    newer = older.merge(SweepOutcome({"c": []}, [failed("b")]))
    assert list(newer.results_by_row) == ["a", "c"]
    assert [failure.name for failure in newer.failures] == ["d", "b"]
    assert Failure.from_json(json.dumps(json.loads(failed("x").to_json()))) == failed("x")


def test_a_metric_that_some_rows_cannot_have_leaves_their_other_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """PRD takes equal counts: the row of fewer samples has the other numbers."""
    plan = [{"name": f"of {n}", "source": "digits", "samples": f"0-{n - 1}"} for n in (40, 30)]
    asked = {"real_source": "mnist", "real_samples": "0-39", "extractors": "digits"}
    with caplog.at_level(logging.INFO, logger="raymetrics"):
        outcome = rm.sweep(plan, **asked, to=str(tmp_path / "all"), any_size=True)
    assert outcome.failures == []
    metrics = {name: {r.metric for r in found} for name, found in outcome.results_by_row.items()}
    assert metrics["of 40"] - metrics["of 30"] == {"prd_f_8", "prd_f_1_8"}
    assert "frechet_distance" in metrics["of 30"]
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("prd is left out of 1 of 2 rows: PRD of 40 real") for line in said)
    with pytest.raises(NotEnoughData, match="kid takes at least 1000 samples"):
        rm.sweep(plan, **asked, metrics="fid,kid", to=str(tmp_path / "kid"))
    assert not (tmp_path / "kid").exists()
