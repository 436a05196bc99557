"""Extraction on a real local Ray: the same bits however it is run, and only what is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sources
import torch
from PIL import Image

from raymetrics.distributed.devices import machine_kind
from raymetrics.distributed.extraction.commit import SetWriter
from raymetrics.distributed.extraction.extract import ExtractRequest, extract, extract_many
from raymetrics.distributed.extraction.generate import LocalGenerator
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.nodes import equal_share
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import SampleRangeError, ShardError, SourceError, SpecMismatch
from raymetrics.extractors import make_extractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators import open_source, quick_fingerprint
from raymetrics.reports.terminal import describe_shard_set
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import shard_name
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import View
from tests.conftest import write_set
from tests.helpers.killed_commands import kill_after_shards

ONE = Resources(actors=1)  # starting an actor takes longer than its work

pytestmark = pytest.mark.usefixtures("ray_session")


def files(folder: Path) -> dict[str, bytes]:
    """The shards in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Path:
    """200 digits in 4 shards, in one process."""
    to = tmp_path_factory.mktemp("reference")
    with session(local=True):
        extract("digits", ["digits"], str(to), "0-199", shard_rows=60)
    return to


def test_same_bits_on_actors_in_small_batches(reference: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    done = extract(
        "digits",
        ["digits"],
        str(tmp_path),
        "0-199",
        shard_rows=60,
        resources=Resources(actors=2, batch=7),
        progress=told.append,
    )
    assert (done.shards_made, done.shards_present, done.rows) == (4, 0, 200)
    rows = [p.rows for p in told]  # the shards come in any order
    assert (len(rows), rows[-1]) == (4, 200)
    assert rows == sorted(set(rows))
    assert told[-1].seconds_to_go == 0
    assert files(tmp_path) == files(reference)
    assert done.shards.digest == open_shards(str(reference)).digest


def test_equals_a_plain_loop(reference: Path) -> None:
    generator = open_source("digits", torch.device("cpu"))
    extractor = make_extractor("digits", torch.device("cpu"))
    ids = np.arange(200)
    expected = run_in_fixed_batches(extractor, ids, generator(ids), extractor.block)
    shards = open_shards(str(reference))
    for output in ("pre_logits", "logits"):
        np.testing.assert_array_equal(shards.read(f"digits_{output}"), expected[output])
    labels = np.concatenate([shards.table(r)["label"].to_numpy() for r in shards.present])
    np.testing.assert_array_equal(labels, generator.labels(ids))


def test_again_makes_only_what_is_missing_in_two_pools(reference: Path, tmp_path: Path) -> None:
    """And seals it again: the old seal must not stand for values that were made anew."""
    to = str(tmp_path)
    for name in ("dataset.json", *files(reference)):
        (tmp_path / name).write_bytes((reference / name).read_bytes())
    manifest = json.loads((reference / "manifest.json").read_text())
    stale = dict.fromkeys(manifest["shards"], "digest of a damaged shard")
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "shards": stale}))
    gone = [range(60, 120), range(180, 200)]
    for shard in gone:
        (tmp_path / shard_name(shard)).unlink()
    untouched = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    assert open_shards(to).missing == gone

    two_pools = Resources(actors=1, batch=32, fused=False)
    done = extract("digits", ["digits"], to, "0-199", shard_rows=60, resources=two_pools)
    assert (done.shards_made, done.shards_present, done.rows) == (2, 2, 80)
    assert files(tmp_path) == files(reference)
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    done.shards.verify()
    assert done.shards.digest == open_shards(str(reference)).digest

    done = extract("digits", ["digits"], to, "0-199", shard_rows=60, resources=ONE)
    assert (done.shards_made, done.shards_present, done.rows) == (0, 4, 0)


@pytest.mark.parametrize(
    "resources",
    [Resources(local=True), pytest.param(Resources(actors=1, batch=16), marks=pytest.mark.slow)],
    ids=["local", "actors"],
)
def test_two_sets_of_many_lengths_and_more_samples_later(
    tmp_path: Path, resources: Resources
) -> None:
    """Short shards in the middle of a stream: at both ends, where an earlier run ended, and where
    another set begins that has labels and larger shards."""
    to = str(tmp_path / "one")
    with session(local=True):
        first = extract("sources:noise", ["digits"], to, "10-99", shard_rows=40)
    assert [shard_name(r) for r in first.shards.present] == [
        shard_name(r) for r in (range(10, 40), range(40, 80), range(80, 100))
    ]
    sealed = first.shards.digest
    # A set keeps the shard size that it was begun with.
    other = str(tmp_path / "other")
    both = [
        ExtractRequest(to, "sources:noise", "0-149"),
        ExtractRequest(other, "sources:Brightness", "0-149"),
    ]
    second, labelled = extract_many(both, ["digits"], shard_rows=999, resources=resources)
    assert [(r.start, r.stop) for r in second.shards.present] == [
        (0, 10), (10, 40), (40, 80), (80, 100), (100, 120), (120, 150),
    ]  # fmt: skip
    assert (second.shards_made, second.shards_present) == (3, 3)
    assert second.shards.seal is not None
    assert second.shards.digest != sealed
    images = open_source("sources:noise", torch.device("cpu"))(np.arange(150))
    extractor = make_extractor("digits", torch.device("cpu"))
    expected = run_in_fixed_batches(extractor, np.arange(150), images, extractor.block)["logits"]
    np.testing.assert_array_equal(second.shards.read("digits_logits"), expected)
    with session(local=True):
        alone = extract("sources:Brightness", ["digits"], str(tmp_path / "alone"), "0-149")
    assert (labelled.shards_made, labelled.rows) == (1, 150)
    assert labelled.shards.digest == alone.shards.digest


def test_equal_parts_fit() -> None:
    for available in (1.0, 2.0, 7.0):
        for takers in (1, 3, 4, 7, 16):
            part = equal_share(available, takers)
            assert 0 < part <= 1
            assert int(1 / part) * available >= takers  # none needs parts of two


def test_own_generator_with_options_labels_and_an_end(tmp_path: Path) -> None:
    with session(local=True):
        done = extract("sources:Brightness?offset=3", ["digits"], str(tmp_path / "a"), "0-39")
    assert done.shards.spec.labels
    with pytest.raises(SpecMismatch, match=r"offset: there 3, asked for 4.*another place"):
        extract("sources:Brightness?offset=4", ["digits"], str(tmp_path / "a"), "0-39")
    with pytest.raises(SampleRangeError, match="0-999, but 990-1000"):
        extract("sources:Brightness", ["digits"], str(tmp_path / "b"), "990-1000")
    assert not (tmp_path / "b").exists()


def test_errors_in_a_worker_arrive_as_they_are_and_leave_whole_shards(tmp_path: Path) -> None:
    to = str(tmp_path / "set")
    rule = "gave float64 .*height, width.*unit-truncate$"
    with session(local=True), pytest.raises(SourceError, match=rule):
        extract("sources:floats", ["digits"], to, "0-99", shard_rows=20)
    with pytest.raises(
        SourceError, match=r"fails_at_sixty failed.*no such latent .*sources\.py, line"
    ):
        extract(
            "sources:fails_at_sixty",
            ["digits"],
            to,
            "0-99",
            shard_rows=20,
            resources=Resources(actors=1, batch=20),
        )
    shards = open_shards(to)
    shards.verify()
    assert not list(tmp_path.rglob(".aside-*"))
    assert all(ids.stop <= 60 for ids in shards.present)
    assert shards.seal is None


def test_broken_images_end_a_run_or_are_left_out_of_another_set(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for i in range(6):
        name = photos / "catdog"[i % 2 * 3 :][:3] / f"{i}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (28, 28), (40 * i,) * 3).save(name)
    (photos / "cat" / "2.png").write_bytes(b"broken")
    why = r"2\.png.*--skip-broken N, which makes another set"
    with session(local=True), pytest.raises(SourceError, match=why):
        extract(str(photos), ["digits"], str(tmp_path / "all"))
    with session(local=True):
        done = extract(str(photos), ["digits"], str(tmp_path / "good"), skip_broken=1)
    assert (done.broken, len(done.shards)) == (("cat/2.png",), 5)
    spec = done.shards.spec
    assert spec.label_names == ("cat", "dog")
    assert spec.source.endswith("photos?skip=cat/2.png")
    # The source of the set is enough to make it again, without looking for what is broken.
    again = extract(spec.source, ["digits"], str(tmp_path / "good"))
    assert (again.shards_made, again.broken) == (0, ())
    assert View.from_shards(done.shards).labels().tolist() == [0, 0, 1, 1, 1]


def test_a_worker_that_has_another_source_says_so() -> None:
    expected = quick_fingerprint(open_source("sources:noise", torch.device("cpu")))
    ids = np.arange(3)
    samples = LocalGenerator([("sources:noise", expected)]).generate(0, ids)
    np.testing.assert_array_equal(samples.images.numpy(), sources.noise(ids))
    with pytest.raises(SourceError, match="on a worker is not what it is on the driver"):
        LocalGenerator([("sources:noise", "other")]).generate(0, ids)


def test_the_seal_says_on_what_it_was_made(reference: Path) -> None:
    seal = open_shards(str(reference)).seal
    assert seal["devices"] == ["cpu"]
    assert seal["made_on"] == [machine_kind()]


def test_a_shard_says_on_which_kinds_of_machine_it_was_made(tmp_path: Path) -> None:
    """Its generators may be on another; how often it is sealed changes nothing, nor its digest."""
    features = {"logits": np.zeros((50, 3), np.float32)}
    spec, digest = (shards := write_set(str(tmp_path), features)).spec, shards.digest
    layout.create_or_extend_spec(shards.store, replace(spec, samples=(range(60),)))
    table = schema.to_table(
        spec.columns, np.arange(50, 60), None, {"made_up_logits": np.zeros((10, 3), np.float32)}
    )
    writer = SetWriter(str(tmp_path), spec.fingerprint)
    assert writer.commit(table, range(50, 60), {}, ["Zen 5", "Zen 4"])
    sealed = seal_set(seal_set(open_shards(str(tmp_path))))
    assert sealed.seal is not None
    assert sealed.seal["made_on"] == ["Zen 4", "Zen 5"]
    assert "made on       2 kinds of machine: Zen 4; Zen 5" in describe_shard_set(sealed)
    first = shard_name(range(50))
    assert sealed.digests[first] == shards.digests[first]
    assert (sealed.spec.fingerprint, digest) == (spec.fingerprint, shards.digest)


def test_another_set_begun_at_the_same_place_is_not_mixed_in(tmp_path: Path) -> None:
    """Two extractions that both found the place empty: the one whose set it is goes on."""
    spec = write_set(str(tmp_path), {"logits": np.zeros((50, 3), np.float32)}).spec
    features = {"made_up_logits": np.zeros((10, 3), np.float32)}
    table = schema.to_table(spec.columns, np.arange(50, 60), None, features)
    with pytest.raises(SpecMismatch, match="became another set"):
        SetWriter(str(tmp_path), "another fingerprint").commit(table, range(50, 60), {})
    with pytest.raises(ShardError, match="made 9 samples for one shard"):
        SetWriter(str(tmp_path), spec.fingerprint).commit(table.slice(0, 9), range(50, 60), {})
    assert len(list(tmp_path.glob("*.parquet"))) == 1


@pytest.mark.parametrize(
    "place", [["--local"], pytest.param(["--actors", "2"], marks=pytest.mark.slow)], ids=str
)
def test_killed_halfway_and_run_again(tmp_path: Path, place: list[str]) -> None:
    """The whole of raymetrics killed with -9: what is there is whole, the rest is made, and no
    bit differs from a run that nobody killed."""
    killed, gate = tmp_path / "killed", tmp_path / "gate"
    source = f"sources:GatedSource?gate={gate}"
    arguments = ["extract", source, "--extractor", "digits", "--samples", "0-999",
                 "--shard-rows", "100", *place, "--to"]  # fmt: skip
    command = [sys.executable, "-m", "raymetrics", *arguments, str(killed)]
    kill_after_shards(command, killed, 3)
    half = open_shards(str(killed))
    half.verify()
    assert half.seal is None
    was = {path: path.stat().st_mtime_ns for path in killed.glob("*.parquet")}
    assert 3 <= len(was) <= 5

    gate.touch()
    with session(local=True):
        done = extract(source, ["digits"], str(killed), "0-999", shard_rows=100)
    assert done.shards_made == 10 - done.shards_present
    assert done.shards_present >= len(was) >= 3
    assert {path: path.stat().st_mtime_ns for path in was} == was
    assert files(killed) == dict(plainly_made(done.shards))


def plainly_made(shards: ShardSet) -> Iterator[tuple[str, bytes]]:
    """The files of a set of `noise`, made in a plain loop that nobody kills."""
    extractor = make_extractor("digits", torch.device("cpu"))
    for shard in shards.present:
        ids = np.array(shard)
        found = run_in_fixed_batches(extractor, ids, sources.noise(ids), extractor.block)
        features = {column.name: found[column.output] for column in shards.spec.columns}
        table = schema.to_table(shards.spec.columns, ids, None, features)
        yield (
            shard_name(shard),
            schema.encode_shard(table, shards.spec.fingerprint, made_on=[machine_kind()]),
        )
