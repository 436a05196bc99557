"""Evaluation over shards on Ray equals the plain functions on the arrays."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

import raymetrics as rm
from raymetrics import metrics as formulas
from raymetrics import results
from raymetrics.distributed.fold import SHARDS_PER_TASK
from raymetrics.errors import (
    InsufficientResources,
    NotEnoughData,
    RaymetricsError,
    ResultsFileError,
    ShardError,
    SpecMismatch,
)
from raymetrics.metrics import Convention, Protocol, conventions, get_convention
from raymetrics.metrics.registry import METRICS, find_metrics, frechet_metrics
from raymetrics.neighbors import ENGINES
from raymetrics.neighbors.faiss_indexes import load_faiss
from raymetrics.statistics import Moments
from raymetrics.studies import compute_metrics
from raymetrics.studies.comparison import MetricTask, metric_applies, open_as_view
from raymetrics.studies.compute_metrics import MetricComputation, plan_tasks
from raymetrics.studies.subsets import all_samples, subsets_by_label
from tests.conftest import write_set
from tests.helpers import oracles

pytestmark = pytest.mark.usefixtures("ray_session")

DIMENSIONS = {"pre_logits": 8, "spatial": 6}
SMALL = {"kid_subsets": 7, "kid_subset_size": 60}

Side = dict[str, np.ndarray]


def features(rng: np.random.Generator, count: int, shift: float) -> Side:
    made = {
        name: rng.normal(shift, 1 + shift, size=(count, d)).astype(np.float32)
        for name, d in DIMENSIONS.items()
    }
    made["logits"] = (made["pre_logits"] @ rng.normal(size=(8, 5))).astype(np.float32)
    return made


@dataclasses.dataclass(frozen=True)
class Sets:
    """Two sets of different sizes, as shards and as arrays."""

    real: Side
    generated: Side
    labels: Side
    uris: dict[str, str]

    def column(self, output: str, count: int | None = None) -> dict[str, np.ndarray]:
        """One column of both sides."""
        return {"real": self.real[output][:count], "generated": self.generated[output][:count]}

    def of_label(self, output: str, label: int) -> dict[str, np.ndarray]:
        """Those with a label."""
        return {
            side: values[self.labels[side] == label] for side, values in self.column(output).items()
        }


@pytest.fixture
def sets(tmp_path: Path, rng: np.random.Generator) -> Sets:
    real, generated = features(rng, 400, 0.0), features(rng, 350, 0.3)
    generated["pre_logits"][:5] = real["pre_logits"][:5]  # copies, for open balls and for realism
    # Many shards hold no sample of label 2.
    labels = {
        "real": np.where(np.arange(400) < 330, np.arange(400) % 2, 2),
        "generated": np.where(np.arange(350) < 60, 2, np.arange(350) % 2),
    }
    uris = {"real": str(tmp_path / "real"), "generated": str(tmp_path / "generated")}
    write_set(uris["real"], real, shard_rows=60, labels=labels["real"])
    write_set(uris["generated"], generated, shard_rows=65, labels=labels["generated"])
    assert (
        min(len(rm.open_shards(uri).present) for uri in uris.values()) > SHARDS_PER_TASK
    )  # many tasks
    return Sets(real, generated, labels, uris)


def numbers(found: list[rm.Result], **of: Any) -> dict[str, float]:
    """Values by metric, of the results whose convention is this."""
    kept = [r for r in found if of.items() <= r.convention.items()]
    assert len({r.metric for r in kept}) == len(kept)
    return {r.metric: r.value for r in kept}


def frechet(real: np.ndarray, generated: np.ndarray, ddof: int = 1) -> float:
    return formulas.frechet_distance(
        real=Moments.from_samples(real), generated=Moments.from_samples(generated), ddof=ddof
    )


def close(value: float) -> Any:
    """Merged shard by shard, sums are rounded otherwise."""
    return pytest.approx(value, rel=1e-9)


def test_the_usual_metrics(sets: Sets) -> None:
    found = rm.evaluate(**sets.uris, convention=Convention(**SMALL, seed=5))
    space = sets.column("pre_logits")
    assert numbers(found)["frechet_distance"] == close(oracles.frechet_distance(**space))
    kernel = rm.kernel_distance(**space, subsets=7, subset_size=60, seed=5)
    assert [(r.value, r.spread) for r in found if r.metric == "kernel_distance"] == [kernel]
    x, y = space.values()
    precision, recall = (oracles.manifold_flags(*pair, 3).mean() for pair in ((y, x), (x, y)))
    assert numbers(found, k=3) == {
        "precision": precision,
        "recall": recall,
        "f_score": formulas.f_score(precision, recall),
    }
    counts = [
        np.bincount(s["logits"].argmax(axis=1), minlength=5) for s in (sets.real, sets.generated)
    ]
    apart = abs(counts[0] / 400 - counts[1] / 350).sum() / 2
    (top1,) = (r for r in found if r.metric == "top1_distance")
    assert top1.value == pytest.approx(apart, rel=1e-12)
    assert [top1.details[side] for side in ("real", "generated")] == [c.tolist() for c in counts]
    assert top1.details["class_names"] == [f"class {i}" for i in range(5)]
    assert len(found) == 6


def test_manifolds_for_several_k(sets: Sets, tmp_path: Path) -> None:
    file = tmp_path / "scores" / "realism.parquet"
    asked = Convention(k=[5, 3])
    found = rm.evaluate(
        **sets.uris, metrics=["realism", "dc", "pr"], convention=asked, scores=str(file)
    )
    space = sets.column("pre_logits")
    expected = rm.prdc(**space, k=(3, 5))
    scores = rm.in_memory.realism(**space, k=3)
    of_realism = {"realistic": (scores >= 1).mean(), "realism_median": np.median(scores)}
    assert numbers(found, k=3) == {**expected[3]._asdict(), **of_realism}
    assert numbers(found, k=5) == expected[5]._asdict()

    table = pq.read_table(file)
    assert table.column_names == ["sample_id", "realism_made_up_pre_logits"]
    np.testing.assert_array_equal(table["sample_id"], np.arange(350))
    np.testing.assert_array_equal(table["realism_made_up_pre_logits"], scores)
    details = found[0].details
    order = formulas.rank_ids(range(350), scores)
    assert [i for i, _ in details["highest"]] == order[:32].tolist()
    assert [i for i, _ in details["lowest"]] == order[::-1][:32].tolist()
    for i, value in [*details["highest"], *details["lowest"]]:
        assert scores[i] == (math.inf if value is None else value)
    assert details["highest"][0][1] is None  # a copy
    assert details["infinite"] == np.isinf(scores).sum() > 0
    results.append_results(found, tmp_path / "results.jsonl")
    assert results.read_results(tmp_path / "results.jsonl") == found


def test_a_set_against_itself_has_results_that_can_be_written(sets: Sets, tmp_path: Path) -> None:
    """Half of the samples are infinitely realistic, which JSON has no number for."""
    found = rm.evaluate(
        real=sets.uris["real"], generated=sets.uris["real"], metrics=["realism", "dc", "fid"]
    )
    results.append_results(found, tmp_path / "results.jsonl")
    assert results.read_results(tmp_path / "results.jsonl") == found
    values = numbers(found)
    assert values["coverage"] == 1
    (realistic,) = (r for r in found if r.metric == "realistic")
    assert realistic.details["infinite"] == 200  # centres of the smaller half of the balls
    assert "realism_median" not in values
    assert values["frechet_distance"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("order", "generator"),
    [("real-first", "mt19937"), ("generated-first", "pcg64"), ("generated-first", "mt19937")],
)
def test_draws_of_kid(sets: Sets, order: Any, generator: Any) -> None:
    asked = Convention(**SMALL, seed=3, kid_order=order, kid_generator=generator)
    (found,) = rm.evaluate(**sets.uris, metrics=["kid"], convention=asked)
    expected = formulas.kernel_distance(
        **sets.column("pre_logits"),
        subsets=7,
        subset_size=60,
        seed=3,
        order=order,
        generator=generator,
    )
    assert (found.value, found.spread) == expected
    assert found.convention["draws"] == f"{order}, {generator}"


def test_vendi_and_inception_score(sets: Sets) -> None:
    found = {
        r.metric: r
        for r in rm.evaluate(
            **sets.uris, metrics=["is", "vendi"], convention=Convention(is_splits=4, is_shuffle=9)
        )
    }
    vendi = [
        formulas.vendi_score(Moments.from_samples(formulas.normalize_rows(x)))
        for x in sets.column("pre_logits").values()
    ]
    assert found["vendi_score"].details["real"] == close(vendi[0])
    assert found["vendi_score"].value == close(vendi[1])

    def score(logits: np.ndarray) -> tuple[float, float]:
        order = np.random.RandomState(9).permutation(len(logits))
        p = softmax(logits[order].astype(np.float64), axis=1)
        parts = [p[i * len(p) // 4 : (i + 1) * len(p) // 4] for i in range(4)]
        of = [np.exp((q * np.log(q / q.mean(axis=0))).sum(axis=1).mean()) for q in parts]
        return float(np.mean(of)), float(np.std(of))

    one = found["inception_score"]
    assert (one.value, one.spread) == close(score(sets.generated["logits"]))
    of_real = one.details["real"]
    assert (of_real["mean"], of_real["std"]) == close(score(sets.real["logits"]))


def test_distances_at_other_counts(sets: Sets) -> None:
    found = rm.evaluate(
        **sets.uris, metrics=["fid-infinity", "fid-counts"], convention=Convention(seed=2)
    )
    real, generated = sets.column("pre_logits").values()
    infinity, by_count = found[0], found[1:]
    order = np.random.default_rng(2).permutation(350)
    subsets = [generated[order < n] for n in formulas.subset_sizes(350, smallest=35)]
    expected = formulas.frechet_infinity(
        real=Moments.from_samples(real),
        generated=[Moments.from_samples(subset) for subset in subsets],
    )
    assert infinity.value == close(expected.value)
    assert infinity.details["counts"] == expected.counts.tolist()
    assert infinity.details["distances"] == close(expected.distances.tolist())
    assert infinity.value < infinity.details["distances"][-1] < infinity.details["distances"][0]

    *by_count, against_all = by_count
    assert [r.convention["samples"] for r in by_count] == [35, 70, 175]
    orders = [
        [np.random.default_rng(seed).permutation(len(x)) for seed in range(first, first + 10)]
        for x, first in ((real, 40), (generated, 50))
    ]
    for result in by_count:
        n = result.convention["samples"]
        distances = [frechet(real[r < n], generated[g < n]) for r, g in zip(*orders, strict=True)]
        assert (result.value, result.spread) == close(
            (np.mean(distances), np.std(distances, ddof=1))
        )
    assert against_all.label == "FD at all + 175 made-up"
    distances = [frechet(real, generated[order < 175]) for order in orders[1]]
    expected = np.mean(distances), np.std(distances, ddof=1)
    assert (against_all.value, against_all.spread) == close(expected)
    assert against_all.convention["draws"].startswith("10 of the generated side, against all real")


def test_draws_of_a_whole_side_have_no_deviation(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All ten draws of as many samples as a side has are the same set, whatever the other has."""
    fewer, more = sets.uris["generated"], sets.uris["real"]
    monkeypatch.setattr(frechet_metrics, "_default_sample_counts", lambda samples: [50, 350])
    found = rm.evaluate(real=fewer, generated=more, metrics=["fid-counts"])
    assert [(r.label, r.spread is None, r.convention.get("deviation")) for r in found] == [
        ("FD at 50 made-up", False, None),
        ("FD at 350 made-up", True, "none: all draws of the real side are one set"),
        ("FD at all + 350 made-up", False, None),
    ]
    assert found[1].value == close(found[2].value)
    found = rm.evaluate(real=more, generated=fewer, metrics=["fid-counts"])
    assert [r.spread is None for r in found] == [False, True, True]


def test_other_columns(sets: Sets, tmp_path: Path, rng: np.random.Generator) -> None:
    found = rm.evaluate(**sets.uris, metrics=["sfid", "fid"])
    assert {r.space["output"]: r.value for r in found} == {
        output: close(frechet(**sets.column(output))) for output in DIMENSIONS
    }
    assert sorted(r.label for r in found) == ["FD made-up", "FD made-up spatial"]

    (of_logits,) = rm.evaluate(**sets.uris, metrics=["fid"], columns=["made_up_logits"])
    assert of_logits.value == close(frechet(**sets.column("logits")))
    assert (of_logits.label, of_logits.space["dimension"]) == ("FD made-up logits", 5)

    clip = {side: rng.normal(i, 1, size=(90, 4)) for i, side in enumerate(("real", "generated"))}
    uris = {side: str(tmp_path / f"clip-{side}") for side in clip}
    for side, x in clip.items():
        write_set(uris[side], {"embedding": x.astype(np.float32)}, extractor="clip-vit-x")
    (cmmd,) = rm.evaluate(**uris, metrics=["cmmd"])
    exact = {side: x.astype(np.float32) for side, x in clip.items()}
    assert cmmd.value == formulas.cmmd(**exact) > 0


def followed(monkeypatch: pytest.MonkeyPatch, *protocols: Protocol) -> None:
    monkeypatch.setattr(conventions, "PROTOCOLS", {p.name: p for p in protocols})


def test_a_protocol_takes_the_first_samples(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    official = get_convention("official", **SMALL)
    followed(
        monkeypatch,
        Protocol("small", ("fid", "kid", "pr"), official, generated=150, real=190),
        Protocol("capped", ("dc",), get_convention("prdc"), generated=100, real_at_most=120),
        Protocol("prd", ("prd",), Convention(), generated=100, real=100),
        Protocol("many", ("fid",), official, generated=351),
    )
    real, generated = sets.real["pre_logits"][:190], sets.generated["pre_logits"][:150]
    found = rm.evaluate(**sets.uris, protocol="small")
    pair = {"real": real, "generated": generated}
    kernel = formulas.kernel_distance(
        **pair, subsets=7, subset_size=60, order="generated-first", generator="mt19937"
    )
    values = numbers(found)
    assert values.pop("frechet_distance") == close(frechet(**pair))
    scores = rm.prdc(**pair)[3]
    assert values == {
        "kernel_distance": kernel.mean,
        "precision": scores.precision,
        "recall": scores.recall,
        "f_score": scores.f_score,
    }
    for result in found:
        assert result.convention["protocol"] == "small"
        assert result.convention["program"] == "official"
        assert (result.real.count, result.real.samples) == (190, ("0-189",))
        assert (result.generated.count, result.generated.samples) == (150, ("0-149",))

    capped = rm.evaluate(**sets.uris, protocol="capped")
    few = {"real": real[:120], "generated": generated[:100]}
    expected = rm.prdc(**few, convention="prdc")[5]
    assert numbers(capped) == {"density": expected.density, "coverage": expected.coverage}
    prd = rm.evaluate(**sets.uris, protocol="prd")
    curve = formulas.prd_curve(real=real[:100], generated=generated[:100])
    assert numbers(prd) == dict(
        zip(("prd_f_8", "prd_f_1_8"), formulas.prd_scores(curve), strict=True)
    )
    assert prd[0].details["recall"] == curve.recall.tolist()

    with pytest.raises(NotEnoughData, match="many takes 351 generated samples, there are 350"):
        rm.evaluate(**sets.uris, protocol="many")
    with pytest.raises(RaymetricsError, match="no protocol 'x'; there are small, capped"):
        rm.evaluate(**sets.uris, protocol="x")
    for said in ({"convention": "prdc"}, {"metrics": ["fid"]}, {"samples": 100}):
        with pytest.raises(RaymetricsError, match="protocol small says metrics, convention and"):
            rm.evaluate(**sets.uris, protocol="small", **said)


def test_the_first_samples_of_either_side(sets: Sets) -> None:
    (found,) = rm.evaluate(**sets.uris, metrics=["fid"], samples=130)
    assert found.value == close(frechet(**sets.column("pre_logits", 130)))
    assert found.real.samples == found.generated.samples == ("0-129",)
    with pytest.raises(NotEnoughData, match="first 351 samples are asked for, .* has 350 gen"):
        rm.evaluate(**sets.uris, metrics=["fid"], samples=351)
    with pytest.raises(RaymetricsError, match="columns say their extractors"):
        rm.evaluate(**sets.uris, columns=["x"], extractors=["y"])


def test_label_by_label(sets: Sets) -> None:
    asked = Convention(**SMALL, k=(2, 3), ball="open")
    names = ["fid", "kid", "pr", "dc", "realism", "top1", "vendi"]
    found = rm.evaluate(**sets.uris, metrics=names, convention=asked, by="label")
    by_label: dict[int, list[rm.Result]] = defaultdict(list)
    for result in found:
        by_label[result.convention["label"]].append(result)
        assert result.subset == {"label": (label := result.convention["label"]), "name": str(label)}
        assert result.label == f"{result.measure_name}, label {label}"
    assert list(by_label) == [0, 1, 2]
    for label, of_label in by_label.items():
        pair = sets.of_label("pre_logits", label)
        assert {(r.real.count, r.generated.count) for r in of_label} == {
            tuple(map(len, pair.values()))
        }
        assert all(r.label.endswith(f", label {label}") for r in of_label)
        rest = [r for r in of_label if "k" not in r.convention]
        values = numbers(rest)
        assert values["frechet_distance"] == close(frechet(**pair))
        assert values["kernel_distance"] == rm.kernel_distance(**pair, subsets=7, subset_size=60)[0]
        assert values["vendi_score"] == close(
            formulas.vendi_score(Moments.from_samples(formulas.normalize_rows(pair["generated"])))
        )
        firsts = [x.argmax(axis=1) for x in sets.of_label("logits", label).values()]
        counts = [np.bincount(first, minlength=5) / len(first) for first in firsts]
        assert values["top1_distance"] == pytest.approx(abs(counts[0] - counts[1]).sum() / 2)
        for k, scores in rm.prdc(**pair, k=(2, 3), convention="prdc").items():
            manifold = numbers(of_label, k=k)
            assert {name: manifold[name] for name in scores._fields} == scores._asdict()
        realism = rm.in_memory.realism(**pair, k=2, convention="prdc")
        assert numbers(of_label, k=2)["realism_median"] == pytest.approx(np.median(realism))
        assert {r.convention["ball"] for r in of_label if "k" in r.convention} == {"open (<)"}


def test_labels_that_do_not_fit(sets: Sets, tmp_path: Path) -> None:
    other, plain = str(tmp_path / "other"), str(tmp_path / "plain")
    write_set(other, sets.generated, labels=np.where(sets.labels["generated"] == 2, 5, 0))
    write_set(plain, sets.generated)
    with pytest.raises(SpecMismatch, match=r"\[1, 2\] are only in .*real, \[5\] only in .*other"):
        rm.evaluate(real=sets.uris["real"], generated=other, metrics=["fid"], by="label")
    with pytest.raises(ShardError, match="plain has no labels"):
        rm.evaluate(real=sets.uris["real"], generated=plain, metrics=["fid"], by="label")
    with pytest.raises(RaymetricsError, match="by is 'class'; there is only 'label'"):
        rm.evaluate(**sets.uris, by="class")
    with pytest.raises(
        NotEnoughData, match="kid takes at least 61 .*generated has 60 generated ones of label 2"
    ):
        rm.evaluate(
            **sets.uris, metrics=["kid"], convention=Convention(kid_subset_size=61), by="label"
        )


def test_a_convention_says_how(sets: Sets) -> None:
    names = ["pr", "dc", "fid"]
    plain, of_prdc, of_nvidia = (
        rm.evaluate(**sets.uris, metrics=names, convention=name)
        for name in (None, "prdc", "nvidia")
    )
    space = sets.column("pre_logits")
    expected = rm.prdc(**space, convention="prdc")[5]._asdict()
    assert numbers(of_prdc, k=5) == expected
    assert numbers(of_nvidia, k=3) == rm.prdc(**space, convention="nvidia")[3]._asdict()
    assert numbers(of_nvidia)["frechet_distance"] == close(frechet(**space, ddof=0))
    assert numbers(of_prdc)["frechet_distance"] == close(frechet(**space))
    assert all("program" not in r.convention and "label" not in r.convention for r in plain)
    assert {r.convention["program"] for r in of_prdc} == {"prdc"}
    assert {r.convention["program"] for r in of_nvidia} == {"nvidia"}
    for result in (*of_prdc, *of_nvidia):
        assert "protocol" not in result.convention
    assert of_prdc[0].convention["ball"] == "open (<)"
    assert of_nvidia[0].convention["distances"] == "float16"
    assert "distances" not in plain[0].convention
    with pytest.raises(RaymetricsError, match="no convention 'x'; there are raymetrics, official"):
        rm.evaluate(**sets.uris, convention="x")


@pytest.mark.parametrize("by_label", [False, True])
def test_any_number_of_passes_gives_equal_numbers(sets: Sets, by_label: bool) -> None:
    """And so does the same again; to the bit."""
    names = ["fid", "pr", "kid", "top1", "dc", "realism"]
    views = {side: open_as_view(uri) for side, uri in sets.uris.items()}
    spec = views["real"].shards.spec
    tasks = [
        MetricTask(metric, column, subset)
        for subset in (subsets_by_label(views) if by_label else [all_samples(views)])
        for column in spec.columns
        for metric in find_metrics(names)
        if metric_applies(metric, column, spec, explicit=False)
    ]
    planned = plan_tasks(tasks, Convention(**SMALL))

    def values(bytes_per_pass: int) -> list[float]:
        computation = MetricComputation(views, planned, bytes_per_pass)
        return [value.value for _, value, _ in computation.values()]

    at_once = values(10**9)
    assert values(10**9) == at_once
    assert values(1) == at_once
    assert values(10_000) == at_once
    found = rm.evaluate(
        **sets.uris,
        metrics=names,
        convention=Convention(**SMALL),
        by="label" if by_label else None,
    )
    assert [result.value for result in found] == at_once


def test_every_number_says_what_it_was_made_of(sets: Sets, tmp_path: Path) -> None:
    found = rm.evaluate(**sets.uris, metrics=["fid", "pr"])
    assert [r.label for r in found] == [
        "FD made-up",
        "precision made-up",
        "recall made-up",
        "F-score made-up",
    ]
    one = found[0]
    assert one.convention["ddof"] == 1
    assert one.space == {
        "name": "made-up",
        "resize": "none",
        "output": "pre_logits",
        "dimension": 8,
    }
    assert (one.real.count, one.real.samples) == (400, ("0-399",))
    assert one.real.digest == rm.open_shards(sets.uris["real"]).digest
    assert one.real.digest != one.generated.digest
    assert {"python", "numpy", "ray", "faiss-cpu"} <= set(one.provenance["versions"])
    file = tmp_path / "kept" / "results.jsonl"
    results.append_results(found, file)
    results.append_results(found[:1], file)
    assert results.read_results(file) == [*found, found[0]]


def test_an_incomplete_set_is_refused(sets: Sets) -> None:
    (Path(sets.uris["real"]) / "samples-000000000060-000000000119.parquet").unlink()
    with pytest.raises(
        ShardError, match="lacks samples 60-119; make them with: raymetrics extract"
    ):
        rm.evaluate(**sets.uris)


def test_samples_that_nobody_asked_for_are_refused(sets: Sets) -> None:
    """As of an extraction into the same set whose request was lost to another's."""
    shards = rm.open_shards(sets.uris["real"])
    spec = dataclasses.replace(shards.spec, samples=(range(380),))
    shards.store.replace("dataset.json", spec.to_json())
    with pytest.raises(ShardError, match="holds samples 380-399, which its"):
        rm.evaluate(**sets.uris)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_change_no_number(sets: Sets, engine: str) -> None:
    """Of all samples, and of those of each label, which are searched in memory."""
    for by in (None, "label"):
        found, expected = (
            rm.evaluate(**sets.uris, metrics=["pr", "dc"], by=by, engine=name)
            for name in (engine, "tiles")
        )
        assert [result.value for result in found] == [result.value for result in expected]
        assert {result.convention["engine"] for result in found} == {engine}


def test_nothing_but_its_own_engine_takes_faiss(
    sets: Sets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    load_faiss.cache_clear()
    rm.evaluate(**sets.uris, metrics=["pr", "dc", "realism"])
    with pytest.raises(RaymetricsError, match=r"FAISS is not installed: pip install"):
        rm.evaluate(**sets.uris, metrics=["pr"], engine="faiss-flat")
    load_faiss.cache_clear()


def test_sets_that_cannot_be_compared_are_refused(sets: Sets, tmp_path: Path) -> None:
    other, resized = str(tmp_path / "other"), str(tmp_path / "resized")
    write_set(other, sets.real, extractor="another")
    write_set(resized, sets.real, spec={"name": "made-up", "resize": "clean"})
    with pytest.raises(SpecMismatch, match="features of made-up.*of another.*same extractor"):
        rm.evaluate(real=sets.uris["real"], generated=other)
    with pytest.raises(SpecMismatch, match='used made-up differently.*resize.*"none".*"clean"'):
        rm.evaluate(real=sets.uris["real"], generated=resized)
    with pytest.raises(SpecMismatch, match="'x' is not in both sets; both have made-up"):
        rm.evaluate(**sets.uris, extractors=["x"])
    with pytest.raises(SpecMismatch, match="column 'x' is not in both.* have made_up_pre_logits"):
        rm.evaluate(**sets.uris, columns=["made_up_logits", "x"])


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be read for what is refused."""

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("reads")

    monkeypatch.setattr(compute_metrics, "fold_shards", read)
    monkeypatch.setattr(compute_metrics, "survey_views", read)


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        ({"metrics": ["ssim"]}, RaymetricsError, "no metric 'ssim'; there are fid, fid-infinity"),
        ({"metrics": []}, RaymetricsError, "no metrics are asked for"),
        ({"engine": "hnsw"}, RaymetricsError, "no engine is called 'hnsw'; there are tiles, "),
        ({"metrics": ["cmmd"]}, RaymetricsError, "cmmd takes a column of clip; there are made_up"),
        ({"metrics": ["is"], "columns": ["made_up_pre_logits"]}, RaymetricsError,
         "is takes a column of logits; there are made_up_pre_logits"),
        ({"metrics": ["fid"], "scores": "x"}, RaymetricsError, "those of --metrics realism"),
        ({"metrics": ["realism"], "scores": "x", "by": "label"}, RaymetricsError, "of all labels"),
        ({"metrics": ["kid"]}, NotEnoughData,
         "kid takes at least 1000 samples.*has 400 real ones.*--kid-subset-size"),
        ({"metrics": ["dc"], "convention": Convention(k=(3, 350))}, NotEnoughData,
         "dc takes at least 351 samples.*has 350 generated ones"),
        ({"metrics": ["is"], "convention": Convention(is_splits=351)}, NotEnoughData,
         "is takes at least 351 samples"),
        ({"metrics": ["prd"]}, NotEnoughData, "PRD of 400 real and 350 generated samples"),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense_are_refused_before_anything_is_read(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    request_: dict[str, Any], error: type[Exception], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    there = sorted(tmp_path.rglob("*"))
    with pytest.raises(error, match=message):
        rm.evaluate(**sets.uris, **request_)
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("by", [None, "label"])
def test_a_plan_that_does_not_fit_is_refused_with_the_figures(
    sets: Sets, monkeypatch: pytest.MonkeyPatch, by: str | None
) -> None:
    memory = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    asked = Convention(kid_subset_size=40)
    rows = 310 if by else 750  # of label 0, which is the first
    with pytest.raises(
        InsufficientResources, match=f"kid of {rows} samples needs 0.* GB.*0.0 GB are free"
    ):
        rm.evaluate(**sets.uris, metrics=["kid"], convention=asked, by=by)
    with pytest.raises(InsufficientResources, match=f"fid-counts of {rows} samples needs"):
        rm.evaluate(**sets.uris, metrics=["fid-counts"], by=by)


def test_moments_fit_where_rows_do_not(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.virtual_memory()._replace(available=5000, total=5000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert rm.evaluate(**sets.uris, metrics=["fid", "top1"], local=True)
    with pytest.raises(InsufficientResources, match="rows; it takes 1024"):
        rm.evaluate(**sets.uris, metrics=["pr"], local=True)


def test_nothing_is_written_if_a_number_fails(
    sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise NotEnoughData("at the end")

    monkeypatch.setitem(METRICS, "fid", dataclasses.replace(METRICS["fid"], compute=fails))
    with pytest.raises(NotEnoughData, match="at the end"):
        rm.evaluate(
            **sets.uris, metrics=["realism", "fid"], scores=str(tmp_path / "scores.parquet")
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generated", "real"]


def test_results_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ResultsFileError, match="No such file.*raymetrics evaluate"):
        results.read_results(tmp_path / "absent")
    file = tmp_path / "x.jsonl"
    file.write_text("")
    with pytest.raises(ResultsFileError, match="is empty"):
        results.read_results(file)
    file.write_text("{}\n")
    with pytest.raises(ResultsFileError, match="line 1 of .* is not a result"):
        results.read_results(file)
