"""How networks are run is chosen when a set is begun, and stays so on every machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from raymetrics.distributed.extraction import numerics
from raymetrics.distributed.extraction.dataset_request import load_extractors
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.numerics import NumericsRecorder
from raymetrics.distributed.extraction.planned_shards import PlannedShard
from raymetrics.distributed.extraction.stream_plan import SetToMake, StreamPlan
from raymetrics.distributed.resources import Resources
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.numerics import Numerics
from raymetrics.generators import open_source
from raymetrics.generators.stylegan2 import StyleGAN2
from raymetrics.shards.layout import DATASET, read_spec
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from tests.distributed.extraction.test_extract import files
from tests.generators.stylegan2.test_stylegan2 import nvidia_file, random_state
from tests.helpers.stream_plans import make_maker, make_plan

pytestmark = pytest.mark.usefixtures("no_actors")


def recorded(folder: Path) -> dict[str, dict[str, object]]:
    return json.loads((folder / DATASET).read_text()).get("numerics", {})


def test_a_set_records_its_numerics_outside_of_its_fingerprint(tmp_path: Path) -> None:
    first = extract("sources:noise", ["digits"], str(tmp_path / "a"), "0-39", shard_rows=20)
    assert recorded(tmp_path / "a") == {"digits": {"block": 16, "layout": "channels_last"}}
    other = extract(
        "sources:noise", ["digits?block=8&layout=contiguous"], str(tmp_path / "b"), "0-39"
    )
    assert recorded(tmp_path / "b") == {"digits": {"block": 8, "layout": "contiguous"}}
    assert first.shards.spec.fingerprint == other.shards.spec.fingerprint
    np.testing.assert_allclose(
        first.shards.read("digits_logits"), other.shards.read("digits_logits"), atol=1e-4
    )


def test_a_set_is_continued_with_the_numerics_of_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a command that says nothing of them, on a machine that would choose others."""
    asked = ["digits?block=8"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    extract("sources:noise", asked, str(whole), "0-39", shard_rows=20)
    extract("sources:noise", asked, str(parts), "0-19", shard_rows=20)
    blocks: list[int] = []
    run = NetworkExtractor.tensors

    def watched(extractor: NetworkExtractor, images: torch.Tensor) -> dict[str, torch.Tensor]:
        blocks.append(len(images))
        return run(extractor, images)

    monkeypatch.setattr(NetworkExtractor, "tensors", watched)
    extract("sources:noise", ["digits"], str(parts), "0-39", shard_rows=20)
    assert set(blocks) == {2, 8}  # the first and the last sample are made again and compared
    assert files(parts) == files(whole)


def test_a_set_that_was_begun_before_is_continued_as_it_was(tmp_path: Path) -> None:
    extract("sources:noise", ["digits"], str(tmp_path), "0-19", shard_rows=20)
    old = json.loads((tmp_path / DATASET).read_text())
    del old["numerics"]
    (tmp_path / DATASET).write_text(json.dumps(old))
    assert open_shards(str(tmp_path)).spec.numerics == {}
    extract("sources:noise", ["digits?block=64"], str(tmp_path), "0-39", shard_rows=20)
    assert recorded(tmp_path) == {"digits": {"block": 16, "layout": "channels_last"}}


def test_on_gpus_the_fastest_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[list[str]] = []

    def measure(source: str | None, texts: list[str]) -> dict[str, dict[str, object]]:
        assert source is None  # noise has no block
        measured.append(texts)
        return {"digits": Numerics(256, "contiguous").as_dict()}

    monkeypatch.setattr(numerics, "_worker_device", lambda resources: torch.device("cuda"))
    monkeypatch.setattr(numerics, "measure_numerics", measure)
    plan = make_plan(str(tmp_path), "sources:noise", range(20))
    spec, store = plan.targets[0].spec, Store(str(tmp_path))
    texts, networks = load_extractors(["digits"])
    first = NumericsRecorder(networks, texts, Resources()).record(
        store, spec, None, has_shards=False
    )
    assert first.numerics == {"digits": {"block": 256, "layout": "contiguous"}}
    stored = read_spec(store)
    assert stored is not None
    assert stored.numerics == first.numerics
    # Another writer, who has read the set before, takes what was recorded meanwhile.
    monkeypatch.setattr(
        numerics, "measure_numerics", lambda source, texts: {"digits": {"block": 1}}
    )
    second = NumericsRecorder(networks, texts, Resources()).record(
        store, spec, None, has_shards=False
    )
    assert second.numerics == first.numerics
    assert measured == [["digits"]]


def test_batches_are_made_of_whole_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a batch of 10 would be computed in a block of 16."""
    plan = make_plan(str(tmp_path), "sources:noise", range(40), shard_rows=40)
    make_shard = make_maker(plan, batch=10)
    sizes: list[int] = []
    generate = make_shard.generator.generate
    monkeypatch.setattr(
        make_shard.generator,
        "generate",
        lambda target, ids: sizes.append(len(ids)) or generate(target, ids),
    )
    make_shard(PlannedShard(0, range(40))).require_success()
    assert sizes == [16, 16, 8]


def test_a_source_keeps_the_block_of_its_beginning(tmp_path: Path) -> None:
    """As another block moves a few pixels by one grey level."""
    path = nvidia_file(tmp_path / "network.pkl", random_state("skip"))
    to = str(tmp_path / "set")
    extract(f"{path}?truncate=clamp:0.7", ["digits"], to, "0-19", shard_rows=20)
    stated = recorded(tmp_path / "set")
    assert stated["(source)"] == {"block": StyleGAN2(path, torch.device("cpu")).block}
    plan = StreamPlan([SetToMake(open_shards(to).spec, "", (), to)])
    ((source, _),) = plan.sources
    assert source == f"{path}?truncate=clamp:0.7&block=16"
    assert open_source(source, torch.device("cpu")).block == 16  # type: ignore[attr-defined]


def test_sets_of_one_stream_share_what_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a sweep has many sets, and each measurement loads the networks on a GPU."""
    calls: list[list[str]] = []

    def measure(source: str | None, texts: list[str]) -> dict[str, dict[str, object]]:
        calls.append(texts)
        return {"digits": Numerics(128, "contiguous").as_dict()}

    monkeypatch.setattr(numerics, "_worker_device", lambda resources: torch.device("cuda"))
    monkeypatch.setattr(numerics, "measure_numerics", measure)
    texts, networks = load_extractors(["digits"])
    recorder = NumericsRecorder(networks, texts, Resources())
    for name in "abc":
        spec = make_plan(str(tmp_path / name), "sources:noise", range(20)).targets[0].spec
        recorder.record(Store(str(tmp_path / name)), spec, None, has_shards=False)
        assert recorded(tmp_path / name) == {"digits": {"block": 128, "layout": "contiguous"}}
    assert calls == [["digits"]]
