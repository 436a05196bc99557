"""Top-1 matching on a real local Ray: the same ids however it is run, and no more than needed."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sources
import torch
from click.testing import CliRunner
from ray._private.state import actors

from raymetrics import sample_ranges
from raymetrics.attacks.top1_rejection import match_top1
from raymetrics.cli.match import format_match_progress
from raymetrics.cli.match import match as match_command
from raymetrics.distributed.extraction.dataset_request import load_extractors, make_spec
from raymetrics.distributed.extraction.planned_shards import ShardSequence, ShardSlot
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import (
    NotEnoughData,
    SampleRangeError,
    ShardError,
    SpecMismatch,
    StorageError,
)
from raymetrics.extractors import make_extractor
from raymetrics.generators import open_source
from raymetrics.shards import layout, schema
from raymetrics.shards.foreign.export import export
from raymetrics.shards.layout import DatasetSpec, shard_name
from raymetrics.shards.open_view import open_view
from raymetrics.shards.selection_files import read_selection
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.match.draw import draw_matched
from raymetrics.studies.match.request import MatchRequest, make_match_request
from raymetrics.studies.match.result import MatchProgress, MatchResult
from tests.conftest import write_set
from tests.helpers.killed_commands import kill_after_shards

EXTRACTOR = "sources:Classes"
COUNTS = [47, 16, 15, 12, 7, 3]  # of real samples by class
ONE = Resources(actors=1, batch=16)

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> str:
    """100 real samples; as many of each class as in COUNTS."""
    extractor = make_extractor(EXTRACTOR, torch.device("cpu"))
    grey = np.repeat(np.arange(6, dtype=np.uint8), COUNTS)
    images = np.broadcast_to(grey[:, None, None, None], (100, 3, 2, 2))
    uri = str(tmp_path_factory.mktemp("real"))
    write_set(uri, extractor(images), extractor=extractor.name, spec=extractor.spec)
    return uri


def expected(n: int = 100, first: int = 0) -> np.ndarray:
    """The ids that are to be accepted, by a plain loop."""
    targets = np.array(COUNTS) * n // 100
    found = match_top1(
        target_counts=targets, classes=sources.scattered_classes(first + np.arange(5000))
    )
    return first + found


def matched(
    real: str, to: Path, source: str = "sources:ClassSource", **more: object
) -> MatchResult:
    options = {"n": 100, "shard_rows": 40, "resources": ONE, "extractors": [EXTRACTOR], **more}
    return draw_matched(real=real, generated=source, to=str(to), run_code=True, **options)  # type: ignore[arg-type]


def asked(real: str, folder: Path) -> MatchRequest:
    """The request whose shards are those of a folder."""
    return make_match_request(
        real,
        "sources:ClassSource",
        str(folder),
        None,
        [EXTRACTOR],
        None,
        100,
        None,
        None,
        40,
        False,
    )


def commit_shards(store: Store, spec: DatasetSpec, end: int) -> None:
    """The samples before `end`, as a stream makes them."""
    generate, extract = sources.ClassSource(), make_extractor(EXTRACTOR, torch.device("cpu"))
    for shard in sample_ranges.split_at_multiples(range(end), 40):
        ids = np.array(shard)
        found = extract(generate(ids))
        features = {column.name: found[column.output] for column in spec.columns}
        table = schema.to_table(spec.columns, ids, None, features)
        assert commit_shard(store, table, spec.fingerprint)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("samples*.parquet"))}


@pytest.fixture(scope="module")
def reference(
    real: str, tmp_path_factory: pytest.TempPathFactory, ray_session: None
) -> tuple[Path, MatchResult]:
    """One run by one actor that nothing disturbs."""
    to = tmp_path_factory.mktemp("reference")
    told: list[MatchProgress] = []
    done = matched(real, to, progress=told.append)
    assert [p.draws for p in told] == sorted({p.draws for p in told})
    assert (told[-1].full, told[-1].accepted, told[-1].draws_to_go) == (6, 100, 0)
    assert told[0].rarest[0].draws >= told[0].rarest[-1].draws
    assert "bins full" in format_match_progress(told[0])
    assert "needs" in format_match_progress(told[0])
    return to, done


def test_accepts_what_a_plain_loop_does_and_stops(
    reference: tuple[Path, MatchResult], real: str
) -> None:
    to, done = reference
    np.testing.assert_array_equal(done.sample_ids, expected())
    np.testing.assert_array_equal(done.classes, sources.scattered_classes(expected()))
    assert np.bincount(done.classes).tolist() == COUNTS
    assert (done.complete, done.draws) == (True, expected()[-1] + 1)
    choice = read_selection(str(to / "accepted.parquet")).require_made_from(done.shards)
    np.testing.assert_array_equal(choice.sample_ids, expected())
    np.testing.assert_array_equal(choice.columns["draw"], expected())
    assert (
        choice.metadata["drawn"]
        == np.bincount(sources.scattered_classes(np.arange(done.draws))).tolist()
    )
    assert len(open_view(f"{done.shards.uri}?ids={done.path}")) == 100
    # No more than one window is made beyond the last sample that was needed, and it is whole.
    window = 3 + 1
    assert done.draws <= len(done.shards) <= done.draws + window * 40
    assert done.shards.seal is not None
    assert sample_ranges.union(done.shards.present) == list(done.shards.spec.samples)
    done.shards.verify()
    deadline = time.monotonic() + 60
    while ours := alive():
        assert time.monotonic() < deadline, ours
        time.sleep(0.2)


def alive() -> list[str]:
    """The actors of streams that are there."""
    names = [actor["ActorClassName"] for actor in actors().values() if actor["State"] == "ALIVE"]
    return [name for name in names if "MapWorker" in name or name == "GateActor"]


@pytest.mark.slow
def test_goes_on_from_shards_with_a_hole_on_more_workers(
    reference: tuple[Path, MatchResult], real: str, tmp_path: Path
) -> None:
    """Existing shards are not made again, whatever batch the rest is made in, and a worker that
    dies on the way changes nothing."""
    source = f"sources:ClassSource?dies={tmp_path / 'dead'}"
    shards, whole = Store(str(tmp_path / "shards")), reference[1].shards
    generator = open_source(source, torch.device("cpu"))
    both = load_extractors([EXTRACTOR])
    spec = layout.create_or_extend_spec(shards, make_spec(source, generator, *both, range(200), 40))
    for ids in (range(40), range(40, 80), range(160, 200)):
        commit_shard(shards, whole.table(ids), spec.fingerprint)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("shards/samples*")}
    done = matched(real, tmp_path, source, resources=Resources(actors=2, batch=7))
    assert (tmp_path / "dead").exists()
    np.testing.assert_array_equal(done.sample_ids, expected())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert done.shards_made == len(done.shards.present) - 3
    both = done.shards.digests.keys() & whole.digests.keys()
    assert len(both) >= 8
    assert {n: done.shards.digests[n] for n in both} == {n: whole.digests[n] for n in both}
    assert done.shards.seal is not None


def test_of_shards_alone_nothing_is_made(real: str, tmp_path: Path) -> None:
    """A match of what is there, of other sizes and beginnings; bins that stay empty."""
    shards, end = tmp_path / "shards", int(expected()[-1]) + 1
    request = asked(real, tmp_path)
    spec = layout.create_or_extend_spec(request.store, request.dataset_spec)
    commit_shards(request.store, spec, end)
    before = files(shards)
    again = matched(real, tmp_path / "again", str(shards), shard_rows=99)
    np.testing.assert_array_equal(again.sample_ids, expected())
    assert (again.shards_made, again.shards.missing) == (0, [])

    draws = end - 1  # one too few
    part = matched(real, tmp_path / "part", str(shards), max_draws=draws)
    np.testing.assert_array_equal(part.sample_ids, expected()[:-1])
    assert (part.complete, part.draws, part.shards_made) == (False, draws, 0)
    with pytest.raises(ShardError, match="only a part of the accepted"):
        read_selection(part.path)
    assert read_selection(part.path, partial=True).metadata["unfilled"] == [5]

    # A longer extraction that has not ended does not matter.
    longer = replace(again.shards.spec, samples=(range(9000),))
    request.store.replace(layout.DATASET, longer.to_json())
    later = matched(real, tmp_path / "later", str(shards), max_draws=100, first=50)
    classes = sources.scattered_classes(50 + np.arange(100))
    room = np.array([(classes[:i] == c).sum() < COUNTS[c] for i, c in enumerate(classes)])
    np.testing.assert_array_equal(later.sample_ids, 50 + np.flatnonzero(room))
    assert later.shards.missing
    assert files(shards) == before


def test_one_that_fails_leaves_a_whole_set_and_no_file(real: str, tmp_path: Path) -> None:
    """Also where a run was killed between a shard and dataset.json, and where another match had
    ended in the same place."""
    request, to = asked(real, tmp_path), tmp_path / "to"
    spec = layout.create_or_extend_spec(request.store, request.dataset_spec)
    commit_shards(request.store, spec, 500)
    complete = matched(real, to, request.store.uri)
    request.store.replace(layout.DATASET, replace(spec, samples=(range(40),)).to_json())
    with pytest.raises(ShardError, match="which its dataset.json does not ask for"):
        open_view(request.store.uri)
    fails = {"max_draws": 3, "on_unfilled": "fail"}
    with pytest.raises(NotEnoughData, match=r"6 of 6 classes lack samples after 3 draws: class"):
        matched(real, to, request.store.uri, **fails)
    assert len(open_view(request.store.uri)) == len(complete.shards)
    assert open_shards(request.store.uri).seal is not None
    # The file of the same request is what a run without that end gives; that of another goes.
    assert read_selection(complete.path).complete
    with pytest.raises(NotEnoughData):
        matched(real, to, request.store.uri, n=50, **fails)
    assert not [*to.iterdir()]


def test_accepted_samples_are_exported_as_a_set(real: str, tmp_path: Path) -> None:
    """A set that needs the drawn samples no more: the numbers of the selection are its own."""
    with session(local=True):
        done = matched(real, tmp_path)
    accepted = f"{done.shards.uri}?ids={done.path}"
    export(accepted, to=str(tmp_path / "accepted"), format="shards")
    selection, exported = open_view(accepted), open_view(str(tmp_path / "accepted"))
    shards, spec = exported.shards, exported.shards.spec
    shards.verify()
    assert shards.seal is not None
    assert [len(ids) for ids in shards.present] == [40, 40, 20]
    np.testing.assert_array_equal(exported.sample_ids, np.arange(100))
    for name in shards.columns:
        np.testing.assert_array_equal(exported.read(name), selection.read(name))
    assert (spec.source, spec.columns) == (accepted, done.shards.spec.columns)
    assert spec.generator["fingerprint"] == done.shards.spec.fingerprint
    assert spec.generator["digest"] == selection.digest()
    numbers = [
        [
            result.value
            for result in evaluate(real=real, generated=uri, metrics=["fid", "top1"], local=True)
        ]
        for uri in (accepted, shards.uri)
    ]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-9)  # other blocks, other last bits
    os.remove(shards.store.path(shard_name(range(40, 80))))
    with pytest.raises(
        ShardError, match="lacks samples 40-79; .* raymetrics export .*ids=.*shards"
    ):
        open_view(shards.uri)


def test_keep_accepted_names_what_replaces_it(tmp_path: Path) -> None:
    command = ["--real", "r", "--generated", "g", "--to", str(tmp_path), "--keep", "accepted"]
    result = CliRunner().invoke(match_command, command)
    assert (result.exit_code, [*tmp_path.iterdir()]) == (2, [])
    assert "raymetrics export 'SHARDS?ids=DIR/accepted.parquet'" in result.output
    assert "--keep" not in CliRunner().invoke(match_command, ["--help"]).output


@pytest.mark.slow
def test_killed_and_run_again(real: str, tmp_path: Path) -> None:
    """All of raymetrics killed with -9: no file that reads as finished, and no shard made twice."""
    gate, shards = tmp_path / "gate", tmp_path / "out" / "shards"
    source = f"sources:ClassSource?gate={gate}"
    command = [
        sys.executable, "-c", "from raymetrics.cli.match import match; match()",
        "--real", real, "--generated", source, "--extractor", EXTRACTOR,
        "--to", str(tmp_path / "out"), "--n", "100", "--shard-rows", "40", "--actors", "1",
    ]  # fmt: skip
    kill_after_shards(command, shards, 3)
    assert not (tmp_path / "out" / "accepted.parquet").exists()
    half = open_shards(str(shards))
    half.verify()
    assert half.seal is None

    gate.touch()
    with session(local=True):
        done = matched(real, tmp_path / "out", source)
    np.testing.assert_array_equal(done.sample_ids, expected())
    assert done.shards_made == len(done.shards.present) - len(half.present)
    assert done.shards.seal is not None
    done.shards.verify()


def test_what_makes_no_sense_is_told_before_anything_is_written(
    real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options, word in (
        ({"n": 0}, "n is 0"), ({"max_draws": 0}, "max_draws is 0"), ({"first": -1}, "first is -1"),
        ({"on_unfilled": "x"}, "on_unfilled is 'x', expected stop or fail"),
        ({"shard_rows": 0}, "shard_rows is 0"),
        ({"source": real, "shards": "x"}, "shards is 'x', but .* is a shard set"),
    ):  # fmt: skip
        with pytest.raises(SampleRangeError, match=word):
            matched(real, tmp_path / "out", **options)
    with pytest.raises(NotEnoughData, match="has only 30 from 60 on"):
        matched(real, tmp_path / "out", "sources:ClassSource?length=90", n=40, first=60)
    with pytest.raises(SpecMismatch, match="no logits 'x'; it has Classes_logits"):
        matched(real, tmp_path / "out", classes="x")
    with pytest.raises(SpecMismatch, match="extractor 'Classes' is not in both sets"):
        matched(real, tmp_path / "out", extractors=["digits"])
    with pytest.raises(StorageError, match="no shard set"):
        matched(str(tmp_path / "nothing"), tmp_path / "out")
    without = write_set(str(tmp_path / "without"), {"features": np.zeros((5, 2), np.float32)})
    with pytest.raises(SpecMismatch, match="has none; extract with inception"):
        matched(without.uri, tmp_path / "out")
    monkeypatch.setattr(sources.Classes, "columns", {"features": 2})
    with pytest.raises(SpecMismatch, match="those of Classes_logits, .* has only Classes_features"):
        matched(real, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sequel_fills_holes_and_goes_on() -> None:
    present = (range(5), range(12, 40), range(60, 80))
    pieces = [*ShardSequence(3, 95, present, 20)]
    assert pieces == [
        ShardSlot(range(5), True),
        ShardSlot(range(5, 12), False),
        ShardSlot(range(12, 40), True),
        ShardSlot(range(40, 60), False),
        ShardSlot(range(60, 80), True),
        ShardSlot(range(80, 95), False),
    ]
    endless = iter(ShardSequence(50, None, present, 20))
    assert [next(endless).ids for _ in range(4)] == [
        range(50, 60), range(60, 80), range(80, 100), range(100, 120),
    ]  # fmt: skip
    assert [*ShardSequence(0, 8, present, 20)] == [
        ShardSlot(range(5), True),
        ShardSlot(range(5, 8), False),
    ]
