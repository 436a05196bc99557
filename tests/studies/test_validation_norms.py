"""FDr6 of made-up features in its six spaces: against its definition, and its refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics import results
from raymetrics.cli import main
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.evaluator import Evaluator
from raymetrics.metrics import FDR6_SPACES, PROTOCOLS, PUBLISHED_NORMS, conventions
from raymetrics.reports.comparison_page import report
from raymetrics.reports.evaluate_command import evaluate_command
from raymetrics.shards import schema
from raymetrics.shards.layout import DatasetSpec, create_or_extend_spec
from raymetrics.shards.seal import seal_set
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

pytestmark = pytest.mark.usefixtures("no_actors")

SHIFTS = {"real": 0.0, "validation": 0.1, "generated": 0.5}
COUNTS = {"real": 90, "validation": 60, "generated": 70}


def write_spaces(uri: str, features: dict[str, np.ndarray], **spec: Any) -> None:
    """Write a sealed shard set with a column of each of these spaces."""
    columns = tuple(schema.Column(space, "features", x.shape[1]) for space, x in features.items())
    count = len(next(iter(features.values())))
    dataset_spec = DatasetSpec(
        source="numbers",
        generator={"name": "numbers"},
        extractors=[{"name": space, "resize": "none", **spec} for space in features],
        columns=columns,
        class_names={},
        labels=False,
        shard_rows=100,
        samples=(range(count),),
        extractor_texts=tuple(features),
    )
    create_or_extend_spec(Store(uri), dataset_spec)
    rows = {column.name: features[column.extractor] for column in columns}
    table = schema.to_table(columns, np.arange(count), None, rows)
    assert commit_shard(Store(uri), table, dataset_spec.fingerprint)
    seal_set(open_shards(uri))


@pytest.fixture
def features(rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Features of every side by space, of as many dimensions as the space's place."""
    return {
        side: {
            space: rng.normal(shift, 1, (COUNTS[side], d)).astype(np.float32)
            for d, space in enumerate(FDR6_SPACES, start=2)
        }
        for side, shift in SHIFTS.items()
    }


@pytest.fixture
def uris(tmp_path: Path, features: dict[str, dict[str, np.ndarray]]) -> dict[str, str]:
    for side, spaces in features.items():
        write_spaces(str(tmp_path / side), spaces)
    return {side: str(tmp_path / side) for side in features}


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the protocol take the samples that there are."""
    fewer = {**PROTOCOLS, "fdr6": replace(PROTOCOLS["fdr6"], generated=COUNTS["generated"])}
    monkeypatch.setattr(conventions, "PROTOCOLS", fewer)


def test_the_interval_of_fdr6_is_that_of_the_mean(uris: dict[str, str]) -> None:
    """A sample adds to the mean what it adds to the ratios on average."""
    *ratios, mean = rm.evaluate(**uris, protocol="fdr6", intervals=True)
    parts = np.mean([ratio.errors["generated"].parts for ratio in ratios], axis=0)
    assert mean.interval["standard_error"] == pytest.approx(float(parts @ parts) ** 0.5)
    assert mean.interval["low"] < mean.value < mean.interval["high"]
    assert mean.interval["varies"] == ("generated",)


def test_fdr6_is_the_mean_of_six_ratios(
    uris: dict[str, str], features: dict[str, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    found = rm.evaluate(**uris, protocol="fdr6")
    expected = {
        space: rm.in_memory.fdr(**{side: spaces[space] for side, spaces in features.items()})
        for space in FDR6_SPACES
    }
    *ratios, mean = found
    assert {r.space["name"]: r.value for r in ratios} == pytest.approx(expected, rel=1e-9)
    assert mean.value == pytest.approx(np.mean([*expected.values()]), rel=1e-9)
    assert [r.label for r in found] == [*(f"FDr {space}" for space in FDR6_SPACES), "FDr6"]
    assert mean.details["spaces"] == {r.measure_name: r.value for r in ratios}
    assert {r.convention["norms"] for r in found} == {"60 samples of numbers"}
    assert {r.convention["protocol"] for r in found} == {"fdr6"}
    assert mean.details["validation"]["digest"] == rm.open_shards(uris["validation"]).digest
    for ratio in ratios:
        assert ratio.value == ratio.details["distance"] / ratio.details["norm"]
        assert "range" not in ratio.details
    results.append_results(found, tmp_path / "results.jsonl")
    assert [r.to_json() for r in results.read_results(tmp_path / "results.jsonl")] == [
        r.to_json() for r in found
    ]
    page = report(tmp_path / "results.jsonl", to=tmp_path / "page").read_text()
    assert "FDr6" in page
    assert "1 is as near as real samples" in page
    assert evaluate_command(found).endswith(f"--validation {uris['validation']} --protocol fdr6")


def test_published_norms_carry_their_digits(uris: dict[str, str]) -> None:
    sides = {side: uris[side] for side in ("real", "generated")}
    found = rm.evaluate(**sides, protocol="fdr6", validation="published")
    distances = [r.value for r in rm.evaluate(**sides, metrics="fid")]
    norms = [float(text) for text in PUBLISHED_NORMS.values()]
    *ratios, mean = found
    assert [r.value for r in ratios] == pytest.approx(np.divide(distances, norms), rel=1e-9)
    assert mean.value == pytest.approx(np.divide(distances, norms).mean(), rel=1e-9)
    lowest, highest = (np.divide(distances, np.add(norms, sign * 0.005)).mean() for sign in (1, -1))
    assert mean.details["range"] == pytest.approx([lowest, highest], rel=1e-9)
    assert mean.convention["range"] == f"{lowest:.5g} to {highest:.5g} by the digits of the norms"
    assert mean.convention["norms"] == "published (arXiv 2604.28190, ImageNet 256x256)"
    assert {r.convention["norm"] for r in ratios} >= {"0.04 ± 0.005", "56.87 ± 0.005"}


def test_the_command_prints_the_six_and_the_range(uris: dict[str, str]) -> None:
    words = ["evaluate", "--protocol", "fdr6", "--validation", "published"]
    words += ["--real", uris["real"], "--generated", uris["generated"]]
    printed = CliRunner().invoke(main, words).output
    lines = [line for line in printed.splitlines() if line.startswith("FDr")]
    assert len(lines) == 7
    assert "norm=0.04 ± 0.005" in lines[3]
    assert lines[6].startswith("FDr6 ")
    assert "by the digits of the norms" in lines[6]


def test_other_spaces_have_a_mean_with_their_number(
    tmp_path: Path, features: dict[str, dict[str, np.ndarray]]
) -> None:
    for side, spaces in features.items():
        two = {"one": spaces["inception"], "two": spaces["mae-vit-l-16"]}
        write_spaces(str(tmp_path / f"{side} 2"), two)
    uris = {side: str(tmp_path / f"{side} 2") for side in features}
    found = rm.evaluate(**uris, metrics="fid,fdr")
    assert [r.label for r in found] == ["FD one", "FDr one", "FD two", "FDr two", "FDr of 2 spaces"]
    (alone,) = rm.evaluate(**uris, metrics="fdr:two")
    assert alone.value == found[3].value
    with pytest.raises(RaymetricsError, match="no published norm of one; there are .* inception,"):
        rm.evaluate(**{**uris, "validation": "published"}, metrics="fdr")


def test_the_real_side_may_be_a_file_of_statistics(
    tmp_path: Path, uris: dict[str, str], features: dict[str, dict[str, np.ndarray]]
) -> None:
    """As the published ones are, of one space; the norm is a set's, or the published one."""
    space = "mae-vit-l-16"
    x = features["real"][space].astype(np.float64)
    np.savez(tmp_path / "train.npz", mu=x.mean(axis=0), sigma=np.cov(x, rowvar=False))
    sides = {**uris, "real": str(tmp_path / "train.npz")}
    (found,) = rm.evaluate(**sides, metrics="fdr")
    expected = rm.in_memory.fdr(**{side: spaces[space] for side, spaces in features.items()})
    assert found.value == pytest.approx(expected, rel=1e-9)
    (published,) = rm.evaluate(**{**sides, "validation": "published"}, metrics="fdr")
    assert published.value == published.details["distance"] / 0.04
    with pytest.raises(RaymetricsError, match=r"fdr6 takes 6 spaces, .*train.npz is of one"):
        rm.evaluate(**sides, protocol="fdr6")
    with pytest.raises(RaymetricsError, match=r"validation side .*train.npz is a file of stat"):
        rm.evaluate(**{**uris, "validation": sides["real"]}, metrics="fdr")


def test_a_source_is_extracted_beside_the_others() -> None:
    found = rm.evaluate(
        real="digits", generated="digits?snapshot=400", validation="digits?snapshot=3200",
        extractors="digits", metrics="fid,fdr", samples=40,
    )  # fmt: skip
    distance, ratio = found
    assert ratio.convention["norms"] == "40 samples of digits?snapshot=3200"
    assert ratio.details["distance"] == distance.value
    (norm,) = rm.evaluate(
        real="digits", generated="digits?snapshot=3200", extractors="digits", metrics="fid",
        samples=40,
    )  # fmt: skip
    assert ratio.details["norm"] == pytest.approx(norm.value, rel=1e-9)


def test_where_there_is_no_validation_set(tmp_path: Path) -> None:
    message = "fdr takes a validation set, which only evaluate has; leave it out"
    with pytest.raises(RaymetricsError, match=message):
        Evaluator(extractor="digits", metrics="fid,fdr")
    with pytest.raises(RaymetricsError, match=message):
        rm.sweep(
            ["digits"], real_source="digits", real_samples="0-9", extractors="digits",
            metrics="fdr", to=str(tmp_path / "sweep"),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "none is given; name it with --validation SIDE, or take the published norms"),
        ({"validation": "published", "metrics": "fid"}, "no metric of fid takes a validation set"),
        ({"validation": "published", "by": "label"}, "one norm for all samples.*leave out by"),
        ({"validation": "published", "under": "all"}, "one norm for all samples.*leave out under"),
    ],
)
def test_requests_that_make_no_sense(
    uris: dict[str, str], changes: dict[str, str], message: str
) -> None:
    sides = {side: uris[side] for side in ("real", "generated")}
    with pytest.raises(RaymetricsError, match=message):
        rm.evaluate(**{"metrics": "fdr", **sides, **changes})


def test_sides_that_do_not_fit(
    tmp_path: Path, uris: dict[str, str], features: dict[str, dict[str, np.ndarray]]
) -> None:
    others = features["validation"]
    fewer = {space: x for space, x in others.items() if space != "mae-vit-l-16"}
    write_spaces(str(tmp_path / "fewer"), fewer)
    fewer = {space: x for space, x in features["generated"].items() if space in fewer}
    write_spaces(str(tmp_path / "fewer generated"), fewer)
    with pytest.raises(SpecMismatch, match="'mae-vit-l-16' is not in both sets"):
        rm.evaluate(**{**uris, "validation": str(tmp_path / "fewer")}, protocol="fdr6")
    with pytest.raises(SpecMismatch, match="not both sides have mae-vit-l-16: extract with --extr"):
        rm.evaluate(**{**uris, "generated": str(tmp_path / "fewer generated")}, protocol="fdr6")
    write_spaces(str(tmp_path / "otherwise"), others, weights="others")
    with pytest.raises(SpecMismatch, match="used inception differently"):
        rm.evaluate(**{**uris, "validation": str(tmp_path / "otherwise")}, protocol="fdr6")
    write_spaces(str(tmp_path / "one"), {space: x[:1] for space, x in others.items()})
    with pytest.raises(
        NotEnoughData, match="takes at least 2 samples, the validation set .* has 1"
    ):
        rm.evaluate(**{**uris, "validation": str(tmp_path / "one")}, protocol="fdr6")
    with pytest.raises(NotEnoughData, match="the validation set is at distance 0"):
        rm.evaluate(**{**uris, "validation": uris["real"]}, protocol="fdr6")
