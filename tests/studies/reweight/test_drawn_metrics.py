"""Draws on the way to the weights: which weights are taken, and what is written of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import raymetrics as rm
from raymetrics.attacks import Step, draw_by_weight
from raymetrics.attacks.reweight_arrays import reweight
from raymetrics.errors import NotEnoughData, RaymetricsError, SpecMismatch
from raymetrics.studies.reweight.drawn_metrics import DRAWS
from raymetrics.studies.reweight.optimize import reweight_shards
from raymetrics.studies.reweight.weights_file import SampleWeights
from raymetrics.studies.seeds import SEED_LIMIT
from tests.conftest import write_set

# So large a rate that the distance does not fall with every step.
DESCENT: dict[str, Any] = {"optimizer": "gd", "learning_rate": 30.0, "max_evaluations": 14}
BEST: dict[str, Any] = {**DESCENT, "select": "best-of-draws", "evaluate_every": 4}


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    real = rng.normal(0, 1.2, (80, 5))
    generated = rng.normal(0.3, 1, (160, 5))
    return {"real": real.astype(np.float32), "generated": generated.astype(np.float32)}


@pytest.fixture(scope="module")
def sides(features: dict[str, np.ndarray], tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("sides")
    for side, x in features.items():
        columns = {"pre_logits": x, "logits": np.ascontiguousarray(x[:, ::-1])}
        write_set(str(folder / side), columns, shard_rows=40)
    return {side: str(folder / side) for side in features}


def found(sides: dict[str, str], to: Path, **options: Any) -> SampleWeights:
    return reweight_shards(**sides, to=str(to), local=True, **options)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


def test_the_best_of_draws_is_that_of_a_plain_loop_over_kept_weights(
    sides: dict[str, str], features: dict[str, np.ndarray], tmp_path: Path
) -> None:
    best = found(sides, tmp_path / "best", **BEST)
    budgets = {1: 2, 4: 5, 8: 9, 12: 13, 14: 14}  # whose last weights those are
    kept = {
        evaluations: found(
            sides, tmp_path / "kept", **{**DESCENT, "max_evaluations": budget}
        ).weights
        for evaluations, budget in budgets.items()
    }
    expected = {}
    for evaluations, weights in kept.items():
        expected[evaluations] = [
            rm.frechet_distance(
                real=features["real"],
                generated=features["generated"][
                    draw_by_weight(weights, 80, SEED_LIMIT + DRAWS * evaluations + draw)
                ],
            )
            for draw in range(DRAWS)
        ]
    rows = {row["evaluations"]: row for row in lines(tmp_path / "best")}
    assert list(rows) == list(expected)
    for evaluations, row in rows.items():
        np.testing.assert_allclose(row["draws"]["FD made-up"], expected[evaluations], rtol=1e-9)
        assert row["smallest"] == min(row["draws"]["FD made-up"])
        weights = kept[evaluations]
        named = [row[f"weight_{name}"] for name in ("min", "median", "max")]
        np.testing.assert_allclose(named, [weights.min(), np.median(weights), weights.max()])
        assert len(row["draws"]["KD made-up"]) == DRAWS
    chosen = min(expected, key=lambda evaluations: min(expected[evaluations]))
    assert chosen not in (1, 14)
    np.testing.assert_array_equal(best.weights, kept[chosen])
    assert best.metadata["selected"]["evaluations"] == chosen
    assert best.metadata["select"] == "best-of-draws"
    assert best.effective_sample_size == pytest.approx(1 / (best.weights**2).sum())
    last = found(sides, tmp_path / "last", **{**BEST, "select": "last"})
    np.testing.assert_array_equal(last.weights, kept[14])
    assert lines(tmp_path / "last") == lines(tmp_path / "best")


@pytest.mark.parametrize("options", [BEST, {"select": "best-of-draws", "max_evaluations": 14}])
def test_goes_on_with_the_same_bits(
    sides: dict[str, str], tmp_path: Path, options: dict[str, Any]
) -> None:
    once = found(sides, tmp_path / "once", **options)

    def interrupt(step: Step) -> None:
        if step.evaluations >= 9:
            raise KeyboardInterrupt

    found(sides, tmp_path / "more", **{**options, "max_evaluations": 7})
    with pytest.raises(KeyboardInterrupt):
        found(sides, tmp_path / "more", on_step=interrupt, **options)
    again = found(sides, tmp_path / "more", **options)
    np.testing.assert_array_equal(again.weights, once.weights)
    assert again.trace == once.trace
    assert lines(tmp_path / "more") == lines(tmp_path / "once")
    with pytest.raises(SpecMismatch, match="evaluate_every"):
        found(sides, tmp_path / "more", **{**options, "evaluate_every": 3})


def test_the_covariance_of_the_program_in_shards(
    sides: dict[str, str], features: dict[str, np.ndarray], tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"optimizer": "gd", "covariance": "program", "max_evaluations": 6}
    expected = reweight(**features, **asked)
    weights = found(sides, tmp_path, **asked)
    steps = [step[:3] for step in weights.trace]
    np.testing.assert_allclose(steps, [step[:3] for step in expected.trace], rtol=1e-5)
    np.testing.assert_allclose(weights.weights, expected.weights, rtol=1e-4)
    assert np.isnan([step.gap for step in weights.trace]).all()
    assert (weights.metadata["covariance"], weights.metadata["learning_rate"]) == ("program", 10)
    moments = {side: x.astype(np.float64) for side, x in features.items()}
    assert weights.trace[0].distance == pytest.approx(rm.frechet_distance(**moments), rel=1e-5)


def test_the_numbers_hold_the_trace(sides: dict[str, str], tmp_path: Path) -> None:
    result = rm.reweight(**sides, to=str(tmp_path), seeds=[2, 5], local=True, **BEST)
    name = "reweighted by made-up pre_logits, gd, best of draws"
    by_label = {number.label: number for number in result.numbers}
    rows = lines(tmp_path)
    for measure in ("FD made-up", "KD made-up"):
        number = by_label[f"{measure}, {name}"]
        values = [row["draws"][measure] for row in rows]
        assert [point["mean"] for point in number.details["trace"]] == [np.mean(v) for v in values]
        assert rm.Result.from_json(number.to_json()) == number
        assert number.convention["select"] == "best-of-draws"
        assert number.convention["seeds"] == "2,5"
        assert "optimistic" in number.warnings[0]
        assert "trace" not in by_label[f"{measure}, random"].details


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"select": "first"}, "no select 'first'; there are last, best-of-draws"),
        ({"scheme": "any"}, "no scheme 'any'; there are multinomial, systematic"),
        ({"learning_rate": 1.0}, "lbfgs has no learning rate"),
        ({"learning_rate": 0.0, "optimizer": "gd"}, "the learning rate is 0.0"),
        ({"covariance": "program"}, "only gradient descent keeps"),
        ({"evaluate_every": 0}, "every 0 evaluations; expected at least 1"),
        ({"evaluate_every": 5, "n": 161}, "draws of 161 samples from 160 candidates"),
    ],
)
def test_requests_that_make_no_sense(
    sides: dict[str, str], tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((RaymetricsError, NotEnoughData), match=message):
        found(sides, tmp_path / "to", **options)
    assert not (tmp_path / "to").exists()


def test_draws_are_compared_by_features(tmp_path: Path, features: dict[str, np.ndarray]) -> None:
    uris = {side: str(tmp_path / side) for side in features}
    for side, x in features.items():
        write_set(uris[side], {"logits": x})
    with pytest.raises(SpecMismatch, match="by features of made-up, .* have only made_up_logits"):
        found(uris, tmp_path / "to", match="logits", select="best-of-draws")
    assert not (tmp_path / "to").exists()
