"""A metric of the user's own over shards on Ray: equal to numpy, in more tasks than one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.distributed.fold import SHARDS_PER_TASK
from raymetrics.errors import MetricError, NotEnoughData, RaymetricsError
from raymetrics.results import read_results
from tests.conftest import write_set
from tests.helpers.own_metrics import mean_distance

pytestmark = pytest.mark.usefixtures("ray_session")

NAMES = [
    "own_metrics:mean_distance",
    "own_metrics:MeanDistance",
    "own_metrics:MeanDistance?power=2",
]


@pytest.fixture
def features(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {side: rng.normal(size=(n, 3)) for side, n in (("real", 120), ("generated", 100))}


@pytest.fixture
def uris(features: dict[str, np.ndarray], tmp_path: Path) -> dict[str, str]:
    """Sets of many shards; of label 1 most of them hold no sample."""
    for side, x in features.items():
        values = {"pre_logits": x.astype(np.float32)}
        write_set(str(tmp_path / side), values, shard_rows=15, labels=np.arange(len(x)) // 90)
    uris = {side: str(tmp_path / side) for side in features}
    assert min(len(rm.open_shards(uri).present) for uri in uris.values()) > SHARDS_PER_TASK
    return uris


def test_both_forms_equal_numpy(features, uris) -> None:
    expected = mean_distance(features["real"], features["generated"])
    results = rm.evaluate(**uris, metrics=["fid", *NAMES])
    assert [r.metric for r in results[1:]] == [NAMES[0], "mean distance", "mean distance"]
    values = [r.value for r in results[1:]]
    assert values == pytest.approx([expected, expected, expected**2], rel=1e-6)
    assert "metric" not in results[0].provenance
    assert [r.provenance["metric"]["callable"] for r in results[1:]] == [
        n.split("?")[0] for n in NAMES
    ]
    assert results[3].provenance["metric"]["options"] == {"power": "2"}
    assert results[3].convention["power"] == "2"
    assert all(len(r.provenance["metric"]["source_sha256"]) == 64 for r in results[1:])


def test_label_by_label(features, uris) -> None:
    results = rm.evaluate(**uris, metrics=NAMES[:2], by="label")
    of_labels = [r.label.rpartition(", ")[2] for r in results if "label" in r.subset]
    assert of_labels == ["label 0"] * 2 + ["label 1"] * 2
    for i, rows in enumerate((slice(90), slice(90, None))):
        expected = mean_distance(features["real"][rows], features["generated"][rows])
        assert [r.value for r in results[2 * i : 2 * i + 2]] == pytest.approx(
            [expected] * 2, rel=1e-6
        )


def test_on_the_command_line(uris, tmp_path) -> None:
    file = tmp_path / "results.jsonl"
    sides = [word for side, uri in uris.items() for word in (f"--{side}", uri)]
    arguments = ["evaluate", *sides, "--metrics", ",".join(NAMES), "--to", str(file)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "mean distance made-up" in done.output
    assert len(read_results(file)) == len(NAMES)
    assert json.loads(file.read_text().splitlines()[0])["better"] == "lower"


def test_what_fails_on_a_worker_is_told_here(uris) -> None:
    with pytest.raises(
        MetricError, match="FailsOnWorkers failed on a block of 15 real .*own_metrics"
    ):
        rm.evaluate(**uris, metrics=["own_metrics:FailsOnWorkers"])


def test_what_a_metric_does_not_take(uris, monkeypatch) -> None:
    monkeypatch.setattr("own_metrics.mean_distance.min_samples", 101, raising=False)
    with pytest.raises(NotEnoughData, match="mean_distance takes at least 101 samples"):
        rm.evaluate(**uris, metrics=NAMES[:1])
    monkeypatch.setattr("own_metrics.mean_distance.outputs", ("logits",), raising=False)
    with pytest.raises(RaymetricsError, match="mean_distance takes a column of logits; there are"):
        rm.evaluate(**uris, metrics=NAMES[:1])
