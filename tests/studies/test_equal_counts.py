"""Equal counts of both sides, random choices by several seeds, and protocols that choose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.errors import NotEnoughData, RaymetricsError
from raymetrics.metrics import Protocol, conventions, get_convention
from raymetrics.reports.evaluate_command import evaluate_command
from raymetrics.reports.number_table import number_table
from raymetrics.results import append_results, read_results
from raymetrics.studies.comparison import open_as_view
from raymetrics.studies.random_seeds import parse_random_ids
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

Side = dict[str, np.ndarray]


def write(uri: Path, features: np.ndarray, labels: np.ndarray | None = None) -> str:
    write_set(str(uri), {"pre_logits": features}, shard_rows=40, labels=labels)
    return str(uri)


@pytest.fixture
def features(rng: np.random.Generator) -> Side:
    return {
        "real": rng.normal(0, 1, (150, 4)).astype(np.float32),
        "generated": rng.normal(0.3, 1, (90, 4)).astype(np.float32),
    }


@pytest.fixture
def labels() -> Side:
    """Label 0 has more real samples, label 1 more generated ones, label 2 as many of each."""
    counts = {"real": (80, 40, 30), "generated": (15, 45, 30)}
    return {side: np.repeat(np.arange(3), of_side) for side, of_side in counts.items()}


@pytest.fixture
def uris(tmp_path: Path, features: Side, labels: Side) -> dict[str, str]:
    return {side: write(tmp_path / side, x, labels[side]) for side, x in features.items()}


def cut(features: np.ndarray, ids: np.ndarray, count: int, seed: int) -> np.ndarray:
    """So many of these samples, as the documentation says that they are chosen."""
    if len(ids) == count:
        return features[ids]
    return features[np.sort(np.random.default_rng(seed).choice(ids, count, replace=False))]


def values(results: list[rm.Result]) -> dict[str, float]:
    return {result.metric: result.value for result in results}


def test_the_larger_side_is_cut(uris: dict[str, str], features: Side) -> None:
    found = rm.evaluate(**uris, metrics="pr,dc", equal_counts=True, random_ids=4)
    pair = {side: cut(x, np.arange(len(x)), 90, 4) for side, x in features.items()}
    assert values(found) == rm.prdc(**pair)[3]._asdict()
    assert {(r.real.count, r.generated.count) for r in found} == {(90, 90)}
    assert {r.convention["equal_counts"] for r in found} == {"the smaller side's, seed 4"}
    assert found[0].real.selection["file"] == "90 of 150 at random, seed 4"
    assert not any("equal counts" in text for r in found for text in r.warnings)
    by_default = rm.evaluate(**uris, metrics="pr,dc", equal_counts=True, changes={"seed": 4})
    assert values(by_default) == values(found)


def test_each_label_is_cut(uris: dict[str, str], features: Side, labels: Side) -> None:
    found = rm.evaluate(**uris, metrics="pr,dc", equal_counts=True, by="label")
    for label, count in ((0, 15), (1, 40), (2, 30)):
        pair = {
            side: cut(x, np.flatnonzero(labels[side] == label), count, 0)
            for side, x in features.items()
        }
        of_label = [result for result in found if result.subset.get("label") == label]
        assert values(of_label) == rm.prdc(**pair)[3]._asdict()
        assert {(r.real.count, r.generated.count) for r in of_label} == {(count, count)}
        assert not any(result.warnings for result in of_label)


def test_equal_sides_are_not_changed(tmp_path: Path, features: Side) -> None:
    pair = {side: x[:90] for side, x in features.items()}
    uris = {side: write(tmp_path / side, x) for side, x in pair.items()}
    plain, equal = (
        rm.evaluate(**uris, metrics="fid,pr,prd", equal_counts=flag) for flag in (False, True)
    )
    assert values(plain) == values(equal)
    assert [r.real.samples for r in equal] == [r.real.samples for r in plain]


def test_unequal_counts_are_told_once(uris: dict[str, str]) -> None:
    asked = ["evaluate", "--real", uris["real"], "--generated", uris["generated"],
             "--metrics", "pr,dc,top1,fid"]  # fmt: skip
    for more, start in (
        (["--metrics", "pr,dc"], "150 real against 90 generated samples"),
        (["--metrics", "pr,dc", "--by", "label"], "labels have other counts of real"),
    ):
        done = CliRunner().invoke(main, [*asked, *more], catch_exceptions=False)
        told = [line for line in done.output.splitlines() if "equal counts" in line]
        assert len(told) == 1, done.output
        assert told[0].count("recall made-up") == 1
        assert start in told[0]
        equal = CliRunner().invoke(main, [*asked, *more, "--equal-counts"], catch_exceptions=False)
        assert "warning" not in equal.output


def test_what_equal_counts_cannot_be(uris: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(RaymetricsError, match="fid50k says how many samples each side has"):
        rm.evaluate(**uris, protocol="fid50k", equal_counts=True)
    rm.export(uris["real"], to=str(tmp_path / "x.npz"), format="npz")
    with pytest.raises(RaymetricsError, match="leave out by, scores and equal_counts"):
        rm.evaluate(
            real=str(tmp_path / "x.npz"), generated=uris["generated"], metrics="fid",
            equal_counts=True,
        )  # fmt: skip


def test_several_seeds_and_their_mean(uris: dict[str, str], features: Side, tmp_path: Path) -> None:
    asked = {**uris, "metrics": "fid,pr", "samples": 60}
    found = rm.evaluate(**asked, random_ids="2,0,7")
    *singles, fid, precision, recall, f_score = found
    for i, seed in enumerate((2, 0, 7)):
        of_seed = singles[4 * i : 4 * i + 4]
        assert values(of_seed) == values(rm.evaluate(**asked, random_ids=seed))
        assert {result.convention["random_ids"] for result in of_seed} == {seed}
        pair = {side: cut(x, np.arange(len(x)), 60, seed) for side, x in features.items()}
        assert values(of_seed)["recall"] == rm.prdc(**pair)[3].recall
    for result in (fid, precision, recall, f_score):
        numbers = [single.value for single in singles if single.metric == result.metric]
        assert result.value == pytest.approx(sum(numbers) / 3)
        assert result.spread == pytest.approx(np.std(numbers, ddof=1))
        assert result.details["values"] == numbers
    assert fid.label == "FD made-up, mean of 3 seeds"
    assert fid.real.selection["file"] == "60 of 150 at random, seeds 2, 0, 7"
    append_results(found, tmp_path / "results.jsonl")
    assert read_results(tmp_path / "results.jsonl") == found
    names = [row.name for row in number_table(found).rows]
    assert names == ["numbers, seed 2", "numbers, seed 0", "numbers, seed 7",
                     "numbers, mean of seeds 2, 0, 7"]  # fmt: skip

    # The order of the seeds changes no mean.
    other = rm.evaluate(**asked, random_ids=[7, 2, 0])[-4:]
    assert values(other) == pytest.approx(values([fid, precision, recall, f_score]))


def test_seeds_that_choose_nothing(uris: dict[str, str]) -> None:
    with pytest.raises(RaymetricsError, match="several seeds choose samples of larger sets"):
        rm.evaluate(**uris, random_ids="0,1")
    with pytest.raises(NotEnoughData, match="all seeds choose the same samples"):
        rm.evaluate(**uris, samples=90, real_samples=150, random_ids="0,1")
    assert parse_random_ids(None) == []
    assert parse_random_ids("3, 1,3") == [3, 1]
    for text in ("x", "-1", "", "1,"):
        with pytest.raises(RaymetricsError, match="write a seed from 0 to 4294967295"):
            parse_random_ids(text)


def test_a_protocol_that_chooses_at_random(
    uris: dict[str, str], features: Side, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    official = get_convention("official")
    protocol = Protocol("few", ("pr",), official, 90, 100, choice="random")
    monkeypatch.setitem(conventions.PROTOCOLS, "few", protocol)  # type: ignore[arg-type]
    found = rm.evaluate(**uris, protocol="few")
    pair = {
        "real": cut(features["real"], np.arange(150), 100, 0),
        "generated": features["generated"],
    }
    assert values(found)["recall"] == rm.prdc(**pair)[3].recall
    assert found[0].real.selection["file"] == "100 of 150 at random, seed 0"
    # Of exactly as many samples none are chosen.
    assert (found[0].generated.samples, found[0].generated.selection) == (("0-89",), {})
    assert evaluate_command(found).endswith(" --protocol few --random-ids 0")
    assert evaluate_command(rm.evaluate(**uris, metrics="pr", samples=20, random_ids=0)) == ""
    other = rm.evaluate(**uris, protocol="few", random_ids=1)
    assert other[0].real.selection["file"] == "100 of 150 at random, seed 1"

    file = str(tmp_path / "generated.npz")
    rm.export(uris["generated"], to=file, format="npz")
    distance = Protocol("distance", ("fid",), official, 90, 100, choice="random")
    monkeypatch.setitem(conventions.PROTOCOLS, "distance", distance)  # type: ignore[arg-type]
    (of_file,) = rm.evaluate(real=uris["real"], generated=file, protocol="distance")
    (of_sets,) = rm.evaluate(**uris, protocol="distance")
    assert of_file.value == pytest.approx(of_sets.value, rel=1e-9)


def test_the_papers_protocols_choose_at_random() -> None:
    choosing = {name for name, p in conventions.PROTOCOLS.items() if p.seed is not None}
    assert choosing == {"fid50k", "pr50k3"}


def test_a_whole_set_by_a_count_beside_its_classes(
    tmp_path: Path,
) -> None:
    """Fig. 5 of Kynkaanniemi et al. (2019): 50k of the data set, all samples of a class."""
    found = rm.sweep(
        ["digits?snapshot=400"], real_source="digits", real_samples="0-119", extractors="digits",
        metrics="pr:digits", samples=50, by="label", equal_counts=True, to=str(tmp_path / "sweep"),
    ).results  # fmt: skip
    whole = [result for result in found if not result.subset]
    of_labels = [result for result in found if "label" in result.subset]
    assert {(r.real.count, r.generated.count) for r in whole} == {(50, 50)}
    assert whole[0].real.selection["file"] == "50 of 120 at random, seed 0"
    real, generated = (
        open_as_view(side.uri) for side in (of_labels[0].real, of_labels[0].generated)
    )
    assert len(generated) == 120
    for result in of_labels:
        label = result.subset["label"]
        counts = [int((s.labels() == label).sum()) for s in (real, generated)]
        assert result.real.count == result.generated.count == min(counts)
