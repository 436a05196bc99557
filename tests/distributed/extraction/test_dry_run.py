"""What an extraction would do, as data and as text; and that telling it changes nothing."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import ray
import torch
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.distributed.extraction import dry_run
from raymetrics.distributed.extraction.disk_space import free_bytes, row_bytes
from raymetrics.distributed.extraction.dry_run import ExtractionPlan, plan_extraction
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.model_sizes import largest_sizes, measure_model_sizes, weight_bytes
from raymetrics.distributed.resources import (
    ActorPool,
    ClusterNode,
    ModelSizes,
    Placement,
    Resources,
)
from raymetrics.distributed.session import session
from raymetrics.errors import InsufficientResources, SampleRangeError, SpecMismatch
from raymetrics.extractors import make_extractor
from raymetrics.generators import open_source
from raymetrics.shards import layout
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store
from tests.conftest import write_set

CPU = torch.device("cpu")
GB = 10**9
DIGITS_BYTES = 4 * (64 + 10) + 8 + 8  # two columns, the id, the label


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine for every test, and no Ray."""
    monkeypatch.setattr(dry_run, "this_machine", lambda gpu_memory: ClusterNode(2, 0, 8 * GB))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def starts() -> None:
        raise AssertionError("a dry run starts no Ray")

    monkeypatch.setattr(ray, "init", starts)


def test_what_is_to_make_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    to = str(tmp_path / "shards")
    plan = plan_extraction("digits", ["digits"], to, "0-99", shard_rows=40)
    assert not Path(to).exists()
    assert (plan.shards_to_make, plan.samples_to_make) == (3, 100)
    assert (plan.shards_present, plan.samples_present) == (0, 0)
    assert plan.bytes_to_make == 100 * DIGITS_BYTES
    assert plan.placement is not None
    assert plan.placement.workers == ActorPool(2, 1.0)


def test_what_is_there_is_not_to_make_and_cuts_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = str(tmp_path)
    with session(local=True):
        extract("digits", ["digits"], to, "0-49", shard_rows=20)
    before = files(tmp_path)
    plan = plan_extraction("digits", ["digits"], to, "30-69", shard_rows=2048)
    assert (plan.shards_to_make, plan.samples_to_make) == (2, 20)  # 50-59 and 60-69
    assert (plan.shards_present, plan.samples_present) == (2, 20)
    done = plan_extraction("digits", ["digits"], to, "10-29")
    assert done.placement is None
    assert str(done).splitlines()[1:] == [
        "  to make   0 shards, 0 samples; 2 shards, 20 samples are there"
    ]
    with pytest.raises(SpecMismatch, match="made from something else"):
        plan_extraction("digits?snapshot=400", ["digits"], to, "0-49")
    begun = Store(f"{tmp_path}/begun")  # by somebody else, who has not made a shard yet
    layout.create_or_extend_spec(begun, done_by(to))
    assert plan_extraction("digits", ["digits"], str(begun), "0-49").shards_to_make == 3
    assert plan_extraction("mnist", ["digits"], str(begun), "0-49").shards_to_make == 1
    assert files(tmp_path) == before


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def done_by(uri: str) -> DatasetSpec:
    """The specification of a set."""
    spec = layout.read_spec(Store(uri))
    assert spec is not None
    return spec


def test_bytes_are_those_that_shards_take(tmp_path: Path) -> None:
    features = {"pre_logits": np.ones((5000, 64), np.float32)}
    shards = write_set(str(tmp_path), features, shard_rows=5000, labels=np.arange(5000))
    written = sum(file.stat().st_size for file in tmp_path.glob("*.parquet"))
    assert 5000 * row_bytes(shards.spec) == pytest.approx(written, rel=0.05)


def test_a_full_disk_is_found_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = f"{tmp_path}/not/yet/there"
    assert free_bytes(Store(to)) == pytest.approx(free_bytes(Store(str(tmp_path))), rel=0.1)
    assert free_bytes(Store("s3://bucket/prefix")) is None
    disk = namedtuple("disk", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda place: disk(10, 1000))
    with pytest.raises(
        InsufficientResources, match=rf"take 312.0 kB, {to} has 10.0 kB free; free some"
    ):
        plan_extraction("digits", ["digits"], to, "0-999")
    assert plan_extraction("digits", ["digits"], to, "0-31").free == 10_000


PLAN = ExtractionPlan(
    "network.pkl", "s3://bucket/shards", 25, 1, 50_000, 100, 12_232, 2048, 64, None, "the cluster",
    (ClusterNode(0.0), *[ClusterNode(96.0, 8, 500 * GB, 80 * GB)] * 2), ModelSizes(30 * GB, None),
    Placement(ActorPool(16, 1.0, 1.0), "both networks fit into a GPU"),
)  # fmt: skip


def test_the_text_of_a_plan() -> None:
    assert str(PLAN).splitlines() == [
        "network.pkl -> s3://bucket/shards",
        "  to make   25 shards, 50000 samples; 1 shards, 100 samples are there",
        "  size      611.6 MB, 12.2 kB a sample; what is free there is not known",
        "  cluster   the cluster: 1 x 0 CPUs; 2 x 96 CPUs, 8 GPUs (80.0 GB each), 500.0 GB free",
        "  workers   16 to generate, extract and commit (1 GPU, 1 CPU each)",
        "  because   both networks fit into a GPU",
        "  weights   generator 30.0 GB, extractors unknown; what they compute with is not counted",
        "  memory    about 61.0 GB a worker, 488.0 GB on a node that has 500.0 GB",
        "  store     neither images nor features in Ray's object store",
    ]


def test_the_text_of_two_pools_that_need_more_memory_than_there_is() -> None:
    pools = Placement(ActorPool(4, 1.0), "two pools are asked for", generators=1)
    text = str(replaced(PLAN, placement=pools, nodes=(ClusterNode(4.0, 0, 64 * GB),)))
    assert "4 to extract and commit (1 CPU each), 1 to generate for each" in text
    assert "488.0 GB on a node that has 64.0 GB; workers may be killed for memory" in text
    assert "some 512 images on their way to extractors" in text
    assert "on a node, of an unknown amount" in str(replaced(PLAN, nodes=(ClusterNode(4.0, 4),)))


def replaced(plan: ExtractionPlan, **changes: object) -> ExtractionPlan:
    return ExtractionPlan(**{**vars(plan), **changes})  # type: ignore[arg-type]


def test_weights_are_those_of_all_networks() -> None:
    digits = open_source("digits", CPU)
    network = sum(p.nbytes for p in digits.network.parameters())  # type: ignore[attr-defined]
    assert weight_bytes(digits) == network
    assert weight_bytes(open_source("digits?truncate=clamp:0.7", CPU)) == network
    extractor = make_extractor("digits", CPU)
    own = weight_bytes(extractor)
    assert own is not None
    assert own > 0
    assert weight_bytes(open_source("mnist", CPU)) == 0
    assert weight_bytes(open_source("sources:noise", CPU)) is None
    assert weight_bytes(make_extractor("sources:Classes", CPU)) is None
    assert measure_model_sizes(digits, [extractor, extractor]) == ModelSizes(network, 2 * own)
    both = [ModelSizes(network, own), ModelSizes(0, own)]
    assert largest_sizes(both) == ModelSizes(network, own)
    assert largest_sizes([*both, ModelSizes(None, own)]) == ModelSizes(None, own)


def test_a_users_object_says_its_weights_or_has_networks() -> None:
    layer = torch.nn.Linear(10, 10, bias=False)

    class Network:
        def __init__(self) -> None:
            self.network, self.again, self.parts = layer, layer, [torch.nn.Linear(10, 10)]

    class Stated(Network):
        weight_bytes = 7

    assert weight_bytes(layer) == weight_bytes(Network()) == 400
    assert weight_bytes(Stated()) == 7


def test_dry_run_from_the_command_line(tmp_path: Path) -> None:
    def runs(*more: str) -> str:
        to = str(tmp_path / "shards")
        words = ["extract", "digits", "--extractor", "digits", "--to", to, "--dry-run", *more]
        done = CliRunner().invoke(main, [*words, "--samples", "0-9999"])
        assert not Path(to).exists()
        assert done.exit_code in (0, 2), done.output
        return done.output

    assert "5 shards, 10000 samples" in runs()
    assert "2 to generate, extract and commit (1 CPU each)" in runs("--fused")
    assert "2 to extract and commit (1 CPU each), 2 to generate for each" in runs(
        "--generators", "3", "--actors", "2"
    )
    assert "(1 GPU, 1 CPU each), 1 to generate for each, with no GPU of its own" in runs(
        "--split", "--gpus", "1"
    )
    assert "100 to generate, extract and commit (0.02 CPU each)" in runs(
        "--actors", "100", "--shard-rows", "100"
    )
    assert "error: generators are a pool" in runs("--generators", "2", "--fused")
    assert "error: actors is 0" in runs("--actors", "0")
    assert "error: the generator takes" in runs("--gpus", "1", "--gpu-memory", "0.0001")


def test_what_extract_refuses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SampleRangeError, match="never ends"):
        plan_extraction("digits", ["digits"], str(tmp_path))
    with pytest.raises(InsufficientResources, match="over 10000 parts"):
        plan_extraction(
            "digits", ["digits"], str(tmp_path), "0-99999", shard_rows=1, resources=Resources(30000)
        )
