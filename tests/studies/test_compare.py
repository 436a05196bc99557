"""Intervals of shard sets, and two generated sets compared: errors of pairs, and bad requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import in_memory
from raymetrics.cli import main
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.in_memory.intervals import values_with_errors
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import METRICS
from raymetrics.metrics.sampling_errors import StandardError
from raymetrics.results import read_results
from raymetrics.studies.compare import compare_results
from tests.conftest import write_set

KID = Convention(kid_subset_size=60, kid_subsets=5)
CLASSES = np.random.default_rng(9).normal(size=(4, 5))


def as_columns(x: np.ndarray) -> dict[str, np.ndarray]:
    x = x.astype(np.float32)
    return {"pre_logits": x, "logits": (x @ CLASSES).astype(np.float32)}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A real set, two generated ones of the same latents, and one of others."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    latents = rng.normal(size=(240, 4))
    features = {
        "real": rng.normal(size=(260, 4)),
        "first": latents * 1.2 + 0.2,
        "second": latents * 1.2 + 0.24,
        "worse": rng.normal(0.8, 1.5, size=(240, 4)),
        "fewer": rng.normal(size=(100, 4)),
    }
    for name, x in features.items():
        labels = np.arange(len(x)) % 2
        write_set(str(folder / name), as_columns(x), shard_rows=50, labels=labels)
    return {name: str(folder / name) for name in features}


def evaluated(sets: dict[str, str], generated: str = "first", **options: Any) -> list[rm.Result]:
    chosen = {"metrics": ["fid", "kid", "top1", "is", "vendi"], "convention": KID} | options
    return rm.evaluate(real=sets["real"], generated=sets[generated], local=True, **chosen)


def test_intervals_change_no_number_and_are_those_of_arrays(sets: dict[str, str]) -> None:
    plain, found = evaluated(sets), evaluated(sets, intervals=True)
    assert [r.value for r in plain] == [r.value for r in found]
    assert not any(r.interval for r in plain)
    views = {side: rm.open_shards(sets[name]) for side, name in
             (("real", "real"), ("generated", "first"))}  # fmt: skip
    for result in found:
        arrays = {}
        for side, shards in views.items():
            blocks = [shards.block(ids, list(shards.columns)) for ids in shards.present]
            column = f"{result.space['name'].replace('-', '_')}_{result.space['output']}"
            arrays[side] = np.concatenate([block[column] for block in blocks])
        name = {"frechet_distance": "fid", "kernel_distance": "kid", "top1_distance": "top1",
                "inception_score": "is", "vendi_score": "vendi"}[result.metric]  # fmt: skip
        _, interval = in_memory.intervals(name, **arrays, convention=KID)[result.metric]
        assert interval
        assert result.interval["low"] == pytest.approx(interval.low, rel=1e-6)
        assert result.interval["varies"] == interval.varies


def test_intervals_of_balls_and_of_labels(sets: dict[str, str]) -> None:
    found = evaluated(sets, metrics=["pr"], intervals=True)
    assert [r.metric for r in found] == ["precision", "recall", "f_score"]
    for result in found:
        assert 0 <= result.interval["low"] <= result.value <= result.interval["high"] <= 1
        assert result.interval["groups"] == 20
    by_label = evaluated(sets, metrics=["fid"], by="label", intervals=True)
    # The mean over the labels and the worst label have none.
    assert [r.interval.get("method") for r in by_label] == ["influences"] * 2 + [None] * 2
    assert by_label[0].interval["standard_error"] > 0


def test_a_file_of_statistics_has_no_samples_that_vary(
    sets: dict[str, str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 4))
    np.savez(tmp_path / "real.npz", mu=x.mean(0), sigma=np.cov(x.T))
    (result,) = rm.evaluate(
        real=tmp_path / "real.npz", generated=sets["first"], intervals=True, local=True
    )
    assert result.interval["varies"] == ("generated",)
    assert result.interval["low"] < result.value < result.interval["high"]


def test_samples_of_the_same_ids_are_paired(sets: dict[str, str]) -> None:
    (fid,) = rm.compare(sets["first"], sets["second"], real=sets["real"], metrics="fid", local=True)
    assert fid.paired_sides == ("real", "generated")
    each = [r.interval["high"] - r.interval["low"] for r in (fid.first, fid.second)]
    assert fid.high - fid.low < 0.5 * min(each)
    assert fid.low <= fid.difference <= fid.high
    assert (fid.better is None) == (fid.low <= 0 <= fid.high)


def test_a_set_with_itself_and_with_a_worse_one(sets: dict[str, str]) -> None:
    metrics = ["fid", "kid"]
    options = {"real": sets["real"], "metrics": metrics, "convention": KID, "local": True}
    for same in rm.compare(sets["first"], sets["first"], **options):
        assert (same.difference, same.p_value, same.better) == (0, 1, None)
    for found in rm.compare(sets["worse"], sets["first"], width=1e-3, **options):
        assert found.better is found.second
        assert found.p_value < 0.01
        assert found.samples_to_tell is not None
        assert found.samples_to_tell < 240
        assert found.samples_for_width is None  # as the real side alone gives more


def test_the_test_errs_as_often_as_it_says() -> None:
    """Of 60 pairs of equal generators few differ, at 5 %."""
    rng, tests = np.random.default_rng(0), []
    for _ in range(60):
        real, *generated = rng.normal(size=(3, 200, 3))
        sides = [{"real": real, "generated": x + 0.5} for x in generated]
        first, second = (values_with_errors(METRICS["fid"], side)[0] for side in sides)
        parts = [
            part
            for side in ("real", "generated")
            for part in first.errors[side].subtract(second.errors[side])
        ]
        tests.append(StandardError.from_errors(parts).p_value(first.value - second.value))
    assert sum(p < 0.05 for p in tests) <= 9  # 3 are expected; more than 9 once in 1000


BAD_REQUESTS = [
    ({"metrics": "prd"}, RaymetricsError, "prd cannot be compared: there is no interval of it"),
    ({"width": -1.0}, RaymetricsError, "width is -1; expected a positive number"),
    ({"second": "fewer"}, NotEnoughData, "has 240 samples, the second one 100.*--samples 100"),
    ({"samples": 30}, NotEnoughData, "an interval of fid takes at least 40 samples"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), BAD_REQUESTS)
def test_bad_requests(
    sets: dict[str, str], changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    names = {"second": "second", **changes}
    second = sets[str(names.pop("second"))]
    with pytest.raises(error, match=message):
        rm.compare(sets["first"], second, real=sets["real"], local=True, **names)


def test_results_against_other_real_samples_are_refused(sets: dict[str, str]) -> None:
    found = [
        evaluated(sets, metrics=["fid"], intervals=True, real_samples=count) for count in (100, 200)
    ]
    with pytest.raises(SpecMismatch, match="measured against other real samples"):
        compare_results(*found)


def test_intervals_under_other_protocols_are_refused(sets: dict[str, str]) -> None:
    with pytest.raises(RaymetricsError, match="leave out by, scores, intervals"):
        evaluated(sets, under="counts", intervals=True)


def test_the_command_says_what_the_samples_tell(sets: dict[str, str], tmp_path: Path) -> None:
    file = str(tmp_path / "both.jsonl")
    sides = [sets["first"], sets["worse"], "--real", sets["real"], "--local"]
    done = CliRunner().invoke(main, ["compare", *sides, "--metrics", "fid", "--results", file])
    assert done.exit_code == 0, done.output
    assert "first is better (p = " in done.output
    assert all(result.interval for result in read_results(file))
    same = [sets["first"], sets["first"], *sides[2:]]
    done = CliRunner().invoke(main, ["compare", *same, "--metrics", "fid", "--width", "0.5"])
    assert "not distinguishable at 240 samples\n" in done.output
    assert "an interval of the difference 0.5 wide takes about" in done.output
