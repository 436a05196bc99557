"""What goes wrong with samples, sets and workers: named, bounded, and no others' misfortune."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ray.exceptions import RayTaskError

from raymetrics import errors
from raymetrics.distributed.extraction.extract import ExtractRequest, extract, extract_many
from raymetrics.distributed.extraction.generate import (
    GeneratedSamples,
    LocalGenerator,
    generate_samples,
)
from raymetrics.distributed.extraction.planned_shards import PlannedShard
from raymetrics.distributed.extraction.set_in_progress import Extraction
from raymetrics.distributed.extraction.shard_record import ShardRecord
from raymetrics.distributed.extraction.stream_control import (
    MAX_ATTEMPTS,
    StreamControl,
    TooManyAttempts,
    begin_with_limit,
)
from raymetrics.distributed.ray_errors import translate_ray_error
from raymetrics.distributed.resources import Resources
from raymetrics.errors import (
    ShardError,
    SourceError,
    SpecMismatch,
    StorageUnavailable,
)
from raymetrics.generators import open_source
from raymetrics.reports.terminal import describe_shard_set
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.view import View
from raymetrics.shards.writer import commit_shard
from tests.conftest import write_set
from tests.distributed.extraction.test_extract import files
from tests.helpers.stream_plans import make_maker, make_plan, with_source

pytestmark = pytest.mark.usefixtures("no_actors")

SMALL = Resources(actors=1, batch=10)


def faulty(tmp_path: Path, fault: str) -> str:
    """A source of noise whose spec does not say what goes wrong with it."""
    log = tmp_path / "log"
    log.mkdir(exist_ok=True)
    (log / "fault").write_text(fault)
    return f"sources:FailingSource?log={log}"


def undisturbed(tmp_path: Path) -> dict[str, bytes]:
    """The shards of 100 samples with which nothing goes wrong."""
    to = tmp_path / "undisturbed"
    extract(faulty(tmp_path, "none"), ["digits"], str(to), "0-99", shard_rows=20, resources=SMALL)
    return files(to)


def test_a_sample_that_raises_is_named_and_its_shard_is_not_made(tmp_path: Path) -> None:
    to = tmp_path / "set"
    source = faulty(tmp_path, "raises:37")
    with pytest.raises(
        SourceError, match=r"^sources:FailingSource failed on sample 37: .*no such latent"
    ):
        extract(source, ["digits"], str(to), "0-99", shard_rows=20, resources=SMALL)
    assert [path.name for path in to.glob("*.parquet")] == [shard_name(range(20))]
    assert open_shards(str(to)).seal is None


def test_samples_are_left_out_within_a_number_and_the_set_says_which(tmp_path: Path) -> None:
    to = str(tmp_path / "set")
    source = faulty(tmp_path, "raises:37,99")
    done = extract(
        source, ["digits"], to, "0-99", shard_rows=20, resources=SMALL, max_errors=2
    )  # fmt: skip
    shards = open_shards(to).require_complete()
    assert [*shards.left_out] == [37, 99]
    assert "sample 37" in shards.left_out[37]
    assert (len(shards), done.rows, done.usage.left_out) == (98, 98, 2)
    assert shards.seal is not None
    shards.verify()
    assert "37 (sources:FailingSource failed on sample 37" in describe_shard_set(shards)
    # The others are what they would be, under the ids that they would have.
    view, images = View.from_shards(shards), open_source("sources:noise", torch.device("cpu"))
    kept = np.delete(np.arange(100), [37, 99])
    np.testing.assert_array_equal(view.sample_ids, kept)
    assert view.describe_samples() == ["0-36", "38-98"]
    whole = tmp_path / "whole"
    extract("sources:noise", ["digits"], str(whole), "0-99", shard_rows=20)
    expected = open_shards(str(whole)).read("digits_pre_logits")
    np.testing.assert_array_equal(view.read("digits_pre_logits"), expected[kept])
    assert images(kept).shape[0] == len(view)
    # Shards without such samples are the same files as ever.
    same = {name: data for name, data in undisturbed(tmp_path).items() if "20-" not in name}
    there = files(tmp_path / "set")
    assert [name for name in there if there[name] == same.get(name)] == [
        shard_name(range(k, k + 20)) for k in (0, 40, 60)
    ]
    # Again: there is nothing to make, and it still says so.
    again = extract(source, ["digits"], to, "0-99", shard_rows=20, resources=SMALL)
    assert (again.shards_made, [*again.shards.left_out]) == (0, [37, 99])


def test_more_than_the_number_end_the_run(tmp_path: Path) -> None:
    source, to = faulty(tmp_path, "raises:5,37"), str(tmp_path / "set")
    with pytest.raises(SourceError, match=r"2 samples .*at most 1 .*the first is 5: .*latent"):
        extract(source, ["digits"], to, "0-99", shard_rows=20, resources=SMALL, max_errors=1)
    source = faulty(tmp_path, "raises:40,41,42,43")
    with pytest.raises(SourceError, match=r"4 samples .*at most 1 .*the first is 40"):
        extract(source, ["digits"], str(tmp_path / "b"), "0-99", shard_rows=20, max_errors=1)
    with pytest.raises(SourceError, match="none of the samples 0-1 can be made"):
        extract(faulty(tmp_path, "raises:0,1"), ["digits"], str(tmp_path / "c"), "0-1",
                max_errors=9)  # fmt: skip


def test_samples_left_out_by_earlier_runs_count_too(tmp_path: Path) -> None:
    """Of two shards that lack one sample each, both are there; the same command still fails."""
    source, to = faulty(tmp_path, "raises:5,37"), str(tmp_path / "set")
    for _ in range(2):
        with pytest.raises(SourceError, match="2 samples .*at most 1 "):
            extract(source, ["digits"], to, "0-39", shard_rows=20, max_errors=1)
        assert open_shards(to).seal is None
    done = extract(source, ["digits"], to, "0-39", shard_rows=20, max_errors=2)
    assert (done.shards_made, [*done.shards.left_out]) == (0, [5, 37])
    assert done.shards.seal is not None


def test_what_raises_once_heals(tmp_path: Path) -> None:
    to = tmp_path / "set"
    done = extract(faulty(tmp_path, "once:37"), ["digits"], str(to), "0-99", shard_rows=20,
                   resources=SMALL)  # fmt: skip
    assert done.usage.single_sample_batches == 1
    assert files(to) == undisturbed(tmp_path)
    assert done.shards.left_out == {}


def test_sys_exit_is_an_error_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"failed on sample 37: sys\.exit\(3\) .*sources\.py"):
        extract(faulty(tmp_path, "exits:37"), ["digits"], str(tmp_path / "a"), "0-99")


def test_one_set_that_cannot_be_made_does_not_stop_the_others(tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    write_set(other, {"logits": np.zeros((5, 3), np.float32)})
    asked = [
        ExtractRequest(str(tmp_path / "a"), "sources:noise", "0-39"),
        ExtractRequest(str(tmp_path / "b"), str(tmp_path / "nothing.pkl"), "0-39"),
        ExtractRequest(str(tmp_path / "c"), faulty(tmp_path, "raises:37"), "0-99"),
        ExtractRequest(other, "sources:noise", "0-39"),
        ExtractRequest(str(tmp_path / "e"), "sources:Brightness", "990-1010"),
        ExtractRequest(str(tmp_path / "f"), "sources:Brightness", "0-39"),
    ]
    told: list[int] = []
    found = extract_many(
        asked, ["digits"], on_error="return", shard_rows=20, resources=SMALL,
        progress=lambda p: told.append(p.rows),
    )  # fmt: skip
    kinds = [type(one).__name__ for one in found]
    assert kinds == ["Extraction", "SourceError", "SourceError", "SpecMismatch", "SampleRangeError",
                     "Extraction"]  # fmt: skip
    for k in (0, 5):
        extraction = found[k]
        assert isinstance(extraction, Extraction)
        assert extraction.shards.seal is not None
        assert extraction.shards_made == 2
    assert told[-1] == 180
    half = open_shards(str(tmp_path / "c"))
    assert half.missing == [range(20, 40)]  # the others of it are made


def test_a_shard_that_is_not_of_the_set_any_more_fails_its_set_alone(tmp_path: Path) -> None:
    """Somebody begins another set at the place of the first."""
    first, second = str(tmp_path / "a"), str(tmp_path / "b")
    asked = [ExtractRequest(first, faulty(tmp_path, "replaces:" + first), "0-39"),
             ExtractRequest(second, "sources:noise", "0-39")]  # fmt: skip
    found = extract_many(asked, ["digits"], on_error="return", shard_rows=20, resources=SMALL)
    assert isinstance(found[0], SpecMismatch)
    assert isinstance(found[1], Extraction)


def test_a_store_that_does_not_answer_stops_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> int:
        raise StorageUnavailable("does not answer")

    monkeypatch.setattr("raymetrics.distributed.extraction.commit.commit_shard", down)
    with pytest.raises(StorageUnavailable):
        extract_many(
            [ExtractRequest(str(tmp_path / "a"), "sources:noise", "0-39")], ["digits"],
            on_error="return",
        )  # fmt: skip


def test_work_that_ends_its_worker_is_begun_a_few_times() -> None:
    control = StreamControl()
    for _ in range(MAX_ATTEMPTS):
        begin_with_limit(control, "a")  # and its worker dies
    with pytest.raises(TooManyAttempts):
        begin_with_limit(control, "a")
    assert control.count_repeats() == MAX_ATTEMPTS  # the first beginning was not again
    # One that ends is forgotten, so that losses far apart do not add up.
    for _ in range(2 * MAX_ATTEMPTS):
        begin_with_limit(control, "b")
        control.end("b")
    assert [*control.attempts] == ["a"]


def test_a_shard_that_is_committed_while_another_ends_the_worker_is_not_blamed() -> None:
    """However often; and one that always ends its worker while it is committed is, in the end."""
    control = StreamControl()
    for _ in range(MAX_ATTEMPTS):
        begin_with_limit(control, "innocent")
        control.halve("innocent")
        begin_with_limit(control, "deadly")  # and the worker of both dies
    begin_with_limit(control, "innocent")
    control.end("innocent")
    with pytest.raises(TooManyAttempts):
        begin_with_limit(control, "deadly")
    for _ in range(2 * MAX_ATTEMPTS - 1):
        begin_with_limit(control, "full disk")
        control.halve("full disk")
    with pytest.raises(TooManyAttempts):
        begin_with_limit(control, "full disk")


def test_a_control_admits_what_is_open_and_waits_for_the_rest() -> None:
    control = StreamControl()
    control.open(2)
    assert [control.admits(number) for number in (1, 2)] == [True, None]
    control.open(1)  # never closes what was open
    control.close()
    assert [control.admits(number) for number in (1, 2)] == [True, False]


def test_what_is_wrong_with_the_extractors_is_raised_at_once(tmp_path: Path) -> None:
    plan = make_plan(str(tmp_path), "sources:noise", range(3))
    other = replace(plan.targets[0], extractors=[{"name": "digits", "version": "another"}])
    make_shard = make_maker(replace(plan, targets=[other]))
    with pytest.raises(errors.ExtractorError, match="on a worker is not what it is on the driver"):
        make_shard(PlannedShard(0, range(3)))


def test_a_source_that_a_worker_does_not_find_fails_its_shards(tmp_path: Path) -> None:
    plan = with_source(make_plan(str(tmp_path), "sources:noise", range(3)), "no-such-source")
    outcome = make_maker(plan)(PlannedShard(0, range(3)))
    assert isinstance(outcome.record.error(), SourceError)
    assert (outcome.newly_made, outcome.rows) == (False, 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_shard_has_the_same_bytes_in_any_batches_and_threads(
    tmp_path: Path, threads: int
) -> None:
    for number, batch in enumerate((1, 7, 20)):
        to = tmp_path / str(number)
        plan = make_plan(str(to), "sources:noise", range(20))
        outcome = make_maker(plan, batch=batch, threads=threads)(PlannedShard(0, range(20)))
        assert outcome.require_success().rows == 20
        assert files(to) == files(tmp_path / "0")


def test_images_of_different_sizes_are_an_error_of_all() -> None:
    class Mixed:
        name = "mixed"

        def __call__(self, ids: np.ndarray) -> np.ndarray:
            if len(ids) > 1:
                raise SourceError("sizes differ")
            return np.zeros((1, 3, 8 + int(ids[0]), 8), np.uint8)

        def labels(self, ids: np.ndarray) -> None:
            return None

    with pytest.raises(SourceError, match="sizes differ"):
        generate_samples(Mixed(), np.arange(3))  # type: ignore[arg-type]


def test_left_out_samples_are_written_with_their_shard(tmp_path: Path) -> None:
    shards = write_set(str(tmp_path / "set"), {"logits": np.zeros((50, 3), np.float32)})
    table = schema.to_table(
        shards.spec.columns, np.array([50, 52]), None, {"made_up_logits": np.zeros((2, 3), "f4")}
    )
    with pytest.raises(ShardError, match="one unbroken range"):
        commit_shard(shards.store, table, shards.spec.fingerprint)
    with pytest.raises(ShardError, match="one unbroken range"):
        commit_shard(shards.store, table, shards.spec.fingerprint, {54: "why"})
    assert commit_shard(shards.store, table, shards.spec.fingerprint, {51: "why", 53: "why"}) > 0
    found = open_shards(shards.uri)
    layout.add_samples(found.store, found.spec, [range(50, 54)])
    assert open_shards(shards.uri).left_out == {51: "why", 53: "why"}
    assert len(found) == 52
    assert found.read("made_up_logits").shape == (52, 3)


def test_a_record_keeps_the_kind_of_its_failure() -> None:
    record = ShardRecord(1, 5, 3)
    assert record.error() is None
    failed = record.with_failure(SpecMismatch("another set")).error()
    assert (type(failed), str(failed)) == (SpecMismatch, "another set")


def test_images_of_several_sizes_in_batches_of_a_shard_are_refused(tmp_path: Path) -> None:
    class Growing(LocalGenerator):
        def generate(self, target: int, sample_ids: np.ndarray) -> GeneratedSamples:
            side = 28 + int(sample_ids[0])
            images = torch.zeros(len(sample_ids), 3, side, side, dtype=torch.uint8)
            return GeneratedSamples(sample_ids, images, None, {}, False)

    plan = make_plan(str(tmp_path), "sources:noise", range(20))
    outcome = make_maker(plan, Growing(plan.sources))(PlannedShard(0, range(20)))
    with pytest.raises(SourceError, match="samples 0-19 have images of 28 x 28 and 44 x 44"):
        outcome.require_success()


def test_an_error_that_was_told_once_is_told_again() -> None:
    """By a session within a session: what is told has Ray's wrapper as its cause, which has it."""
    told = SourceError("no such latent")
    wrapper = RayTaskError("stage", "", told)
    told.__cause__ = wrapper
    assert translate_ray_error(wrapper) is told
    assert translate_ray_error(told) is told


def test_what_a_killed_process_left_aside_goes(tmp_path: Path) -> None:
    old, new = tmp_path / ".aside-old", tmp_path / ".aside-new"
    for file in (old, new):
        file.touch()
    os.utime(old, (0, 0))
    extract("sources:noise", ["digits"], str(tmp_path), "0-9")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_place_that_workers_cannot_use_fails_its_shards(tmp_path: Path) -> None:
    plan = make_plan(str(tmp_path), "sources:noise", range(10))
    elsewhere = replace(plan, targets=[replace(plan.targets[0], uri="nowhere://bucket")])
    outcome = make_maker(elsewhere)(PlannedShard(0, range(10)))
    with pytest.raises(errors.StorageError, match="nowhere"):
        outcome.require_success()


def test_no_room_for_all_sets_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = 100 * (4 * (64 + 10) + 8)  # bytes of 100 samples of the digits' network
    monkeypatch.setattr(
        "raymetrics.distributed.extraction.disk_space.free_bytes", lambda _: 2 * one
    )
    asked = [ExtractRequest(str(tmp_path / name), "sources:noise", "0-99") for name in "abc"]
    with pytest.raises(errors.InsufficientResources, match="free some"):
        extract_many(asked, ["digits"], on_error="return")
    assert not list(tmp_path.rglob("*.parquet"))
