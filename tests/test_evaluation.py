"""Evaluation over shards on Ray equals numpy on the concatenated features."""

from __future__ import annotations

import dataclasses

import numpy as np
import psutil
import pytest

import raymetrics as rm
from raymetrics import results
from raymetrics.errors import (
    NotEnoughData,
    PlanTooLarge,
    RaymetricsError,
    ResultError,
    ShardError,
    SpecMismatch,
)
from raymetrics.evaluation import METRICS
from raymetrics.streaming.fold import GROUP
from tests import oracles
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("ray_session")


def features(rng: np.random.Generator, count: int, shift: float) -> dict[str, np.ndarray]:
    x = rng.normal(shift, 1 + shift, size=(count, 8)).astype(np.float32)
    return {"pre_logits": x, "logits": (x @ rng.normal(size=(8, 5))).astype(np.float32)}


@pytest.fixture
def sides(tmp_path, rng):
    real, generated = features(rng, 500, 0.0), features(rng, 450, 0.4)
    uris = {"real": str(tmp_path / "real"), "generated": str(tmp_path / "generated")}
    write_set(uris["real"], real, shard_rows=60)
    write_set(uris["generated"], generated, shard_rows=70)
    return uris, real, generated


def test_distributed_equals_direct(sides) -> None:
    uris, real, generated = sides
    convention = rm.Convention(k=3, kid_subsets=20, kid_subset_size=100, seed=5)
    found = {r.metric: r for r in rm.evaluate(**uris, convention=convention)}
    assert min(len(rm.open_shards(uri).present) for uri in uris.values()) > GROUP  # many tasks

    x, y = real["pre_logits"], generated["pre_logits"]
    expected = oracles.frechet_distance(x, y)
    assert found["frechet_distance"].value == pytest.approx(expected, rel=1e-8)
    assert found["precision"].value == oracles.manifold_flags(y, x, 3).mean()
    assert found["recall"].value == oracles.manifold_flags(x, y, 3).mean()
    kernel = rm.kernel_distance(real=x, generated=y, subsets=20, subset_size=100, seed=5)
    assert (found["kernel_distance"].value, found["kernel_distance"].spread) == kernel
    counts = [np.bincount(s["logits"].argmax(axis=1), minlength=5) for s in (real, generated)]
    assert found["top1_distance"].details["real"] == counts[0].tolist()
    apart = abs(counts[0] / 500 - counts[1] / 450).sum() / 2
    assert found["top1_distance"].value == pytest.approx(apart, rel=1e-12)


def test_every_number_says_what_it_was_made_of(sides, tmp_path) -> None:
    uris, *_ = sides
    found = rm.evaluate(**uris, metrics=["fid", "pr"])
    assert [r.label for r in found] == ["FD made-up", "precision made-up", "recall made-up"]
    one = found[0]
    assert one.convention["ddof"] == 1
    assert one.space == {
        "name": "made-up",
        "resize": "none",
        "output": "pre_logits",
        "dimension": 8,
    }
    assert (one.real.count, one.real.samples) == (500, ("0-499",))
    assert one.real.digest == rm.open_shards(uris["real"]).digest
    assert one.real.digest != one.generated.digest
    assert {"python", "numpy", "ray", "faiss-cpu"} <= set(one.provenance["versions"])
    file = tmp_path / "kept" / "results.jsonl"
    results.write(found, file)
    results.write(found[:1], file)
    assert results.read(file) == [*found, found[0]]


def test_the_bits_do_not_depend_on_how_often(sides) -> None:
    uris, *_ = sides
    first, second = (rm.evaluate(**uris, metrics=["fid"])[0].value for _ in range(2))
    assert first == second


def test_an_incomplete_set_is_refused(sides) -> None:
    uris, *_ = sides
    rm.open_shards(uris["real"]).store.fs.rm(
        uris["real"] + "/samples-000000000060-000000000119.parquet"
    )
    with pytest.raises(
        ShardError, match="lacks samples 60-119; make them with: raymetrics extract"
    ):
        rm.evaluate(**uris)


def test_samples_that_nobody_asked_for_are_refused(sides) -> None:
    """As of an extraction into the same set whose request was lost to another's."""
    uris, *_ = sides
    shards = rm.open_shards(uris["real"])
    spec = dataclasses.replace(shards.spec, samples=(range(480),))
    shards.store.replace("dataset.json", spec.to_json())
    with pytest.raises(ShardError, match="holds samples 480-499, which its"):
        rm.evaluate(**uris)


def test_sets_that_cannot_be_compared_are_refused(sides, tmp_path, rng) -> None:
    uris, real, _ = sides
    other, resized = str(tmp_path / "other"), str(tmp_path / "resized")
    write_set(other, real, extractor="another")
    write_set(resized, real, spec={"name": "made-up", "resize": "clean"})
    with pytest.raises(SpecMismatch, match="features of made-up.*of another.*same extractor"):
        rm.evaluate(real=uris["real"], generated=other)
    with pytest.raises(SpecMismatch, match='used made-up differently.*resize.*"none".*"clean"'):
        rm.evaluate(real=uris["real"], generated=resized)
    with pytest.raises(SpecMismatch, match="'x' is not in both sets; both have made-up"):
        rm.evaluate(**uris, extractors=["x"])


def test_requests_that_make_no_sense(sides) -> None:
    uris, *_ = sides
    with pytest.raises(RaymetricsError, match="no metric 'ssim'; there are fid, kid, pr, top1"):
        rm.evaluate(**uris, metrics=["ssim"])
    with pytest.raises(RaymetricsError, match="no metrics are asked for"):
        rm.evaluate(**uris, metrics=[])
    with pytest.raises(
        NotEnoughData, match="kid takes at least 1000 samples.*500 real ones.*--kid-subset-size"
    ):
        rm.evaluate(**uris, metrics=["kid"])
    with pytest.raises(NotEnoughData, match="k is 0"):
        rm.Convention(k=0)
    with pytest.raises(NotEnoughData, match="kid_subset_size is 1, expected at least 2"):
        rm.Convention(kid_subset_size=1)
    assert tuple(METRICS) == ("fid", "kid", "pr", "top1")


def test_a_plan_that_does_not_fit_is_refused_with_the_figures(sides, monkeypatch) -> None:
    uris, *_ = sides
    memory = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(PlanTooLarge, match="950 samples need .* GB.*0.0 GB are free"):
        rm.evaluate(**uris, metrics=["pr"])
    assert rm.evaluate(**uris, metrics=["fid"])  # moments are small


def test_results_files_that_are_none(tmp_path) -> None:
    with pytest.raises(ResultError, match="No such file.*raymetrics evaluate"):
        results.read(tmp_path / "absent")
    file = tmp_path / "x.jsonl"
    file.write_text("")
    with pytest.raises(ResultError, match="is empty"):
        results.read(file)
    file.write_text("{}\n")
    with pytest.raises(ResultError, match="line 1 of .* is not a result"):
        results.read(file)
