"""The mean of every number over the labels, and the worst label by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raymetrics as rm
from raymetrics import results
from raymetrics.reports.comparison_page import report
from raymetrics.reports.number_table import number_table
from raymetrics.reports.terminal import results_table
from tests.conftest import write_set

pytestmark = pytest.mark.usefixtures("no_actors")

NAMES = ("cat", "dog", "eel")


@pytest.fixture
def found(tmp_path: Path, rng: np.random.Generator) -> list[rm.Result]:
    for side in ("real", "generated"):
        labels = np.arange(90) % 3
        shift = labels[:, None] * (side == "generated")
        x = (rng.normal(size=(90, 4)) + shift).astype(np.float32)
        write_set(str(tmp_path / side), {"pre_logits": x}, labels=labels, label_names=NAMES)
    sides = {side: str(tmp_path / side) for side in ("real", "generated")}
    return rm.evaluate(**sides, metrics="fid,pr", convention=rm.Convention(k=(2, 3)), by="label")


def test_of_every_number(found: list[rm.Result]) -> None:
    summaries = [r for r in found if r.subset == {"labels": 3}]
    assert len(summaries) == 2 * (1 + 2 * 3)
    assert summaries == found[-len(summaries) :]
    for summary in summaries:
        metric, _, _ = summary.metric.rpartition("_label_mean")
        metric = metric or summary.metric.removesuffix("_worst_label")
        of_labels = [
            r
            for r in found
            if r.metric == metric and r.convention.get("k") == summary.convention.get("k")
        ]
        values = [r.value for r in of_labels]
        assert len(values) == summary.convention["labels"] == 3
        assert (summary.real.count, summary.generated.count) == (90, 90)
        if summary.metric.endswith("_label_mean"):
            assert summary.value == pytest.approx(np.mean(values))
            assert summary.spread == pytest.approx(np.std(values, ddof=1))
            assert [*summary.details["values"].values()] == values
        else:
            worst = (max if summary.better == "lower" else min)(values)
            assert summary.value == worst
            place = values.index(worst)
            assert (summary.details["label"], summary.details["name"]) == (place, NAMES[place])
            assert summary.label.endswith(f": {place} ({NAMES[place]})")


def test_they_are_numbers_of_their_own_everywhere(found: list[rm.Result], tmp_path: Path) -> None:
    printed = results_table(found)
    assert "label-mean FD made-up" in printed
    assert "worst-label FD made-up: 2 (eel)" in printed
    names = [measure.name for measure in number_table(found).measures]
    assert names[:2] == ["label-mean FD made-up", "worst-label FD made-up"]
    assert "label-mean precision made-up, k = 3" in names
    results.append_results(found, tmp_path / "results.jsonl")
    assert results.read_results(tmp_path / "results.jsonl") == found
    page = report(tmp_path / "results.jsonl", to=tmp_path / "page").read_text()
    assert "worst-label FD made-up: 2 (eel)" in page
    assert "the mean over the labels: how far means and covariances" in page
    assert "± is the deviation over the labels" in page


def test_one_label_has_no_summary(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 2)).astype(np.float32)
    uri = str(tmp_path / "set")
    write_set(uri, {"pre_logits": x}, labels=np.zeros(30, np.int64))
    assert len(rm.evaluate(real=uri, generated=uri, metrics="fid", by="label")) == 1
