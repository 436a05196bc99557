"""`raymetrics reweight` on the terminal."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics.attacks import Step
from raymetrics.cli.reweight import reweight, step_printer
from raymetrics.shards.open_view import open_view
from raymetrics.shards.selection_files import read_selection, read_weights
from tests.conftest import write_set


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(reweight, words, catch_exceptions=False)
    return done.exit_code, done.output


@pytest.mark.usefixtures("ray_session")
def test_weights_draws_and_their_numbers(tmp_path: Path, rng: np.random.Generator) -> None:
    for side, count, spread in (("real", 60, 1.2), ("generated", 120, 1.0)):
        features = rng.normal(0, spread, (count, 4)).astype(np.float32)
        write_set(str(tmp_path / side), {"pre_logits": features}, shard_rows=40)
    sets = ["--real", str(tmp_path / "real"), "--generated", str(tmp_path / "generated")]
    to = tmp_path / "to"
    asked = ["--seeds", "0,5,7", "--max-evaluations", "8", "--select", "best-of-draws"]
    code, output = run(*sets, "--to", str(to), *asked)
    assert code == 0, output
    assert re.search(r"selected +after \d evaluations, by the smallest .*: optimistic", output)
    assert "reweighted by made-up pre_logits, best of draws" in output
    assert '"seeds": "0,5,7"' in (to / "results.jsonl").read_text()
    assert len((to / "trace.jsonl").read_text().splitlines()) == 2
    before, after = map(float, re.search(r"distance +(\S+) -> (\S+), pre_logits", output).groups())
    assert after < 0.8 * before
    assert re.search(r"evaluations +\d, not converged: ask for more --max-evaluations", output)
    assert re.search(r"reweighted by made-up pre_logits", output)
    weights = read_weights(str(to / "weights.parquet"))
    assert f"of {len(weights)}" in output
    drawn = read_selection(str(to / "drawn.parquet"))
    assert (len(drawn), drawn.metadata["seed"]) == (60, 0)
    assert len(open_view(f"{tmp_path}/generated?ids={to}/drawn.parquet")) == 60


def test_all_that_is_asked_is_looked_at_before_anything_is_computed(tmp_path: Path) -> None:
    for side, count in (("real", 4), ("generated", 8)):
        features = {name: np.ones((count, 4), np.float32) for name in ("pre_logits", "logits")}
        write_set(str(tmp_path / side), features)
    sets = ["--real", str(tmp_path / "real"), "--generated", str(tmp_path / "generated")]
    for words, message in (
        (["--n", "9"], "draws of 9 samples from 8 candidates"),
        (["--n", "1"], "draws of 1 samples from 8 candidates"),
        (["--match", "pre_logits,top_n:3"], "top_n:3 marks more than half of 4 classes"),
        (["--match", ","], "--match names no features; choose from pre_logits"),
        (["--extractor", "vgg16"], "extractor 'vgg16' is not in both sets"),
        (["--covariance", "program"], "the program's covariance depends on the sum of weights"),
        (["--learning-rate", "3"], "lbfgs has no learning rate"),
    ):
        code, output = run(*sets, "--to", str(tmp_path / "to"), *words)
        assert (code, (tmp_path / "to").exists()) == (2, False)
        assert output.startswith(f"error: {message}")


def test_progress_is_a_line_every_two_seconds(monkeypatch, capsys) -> None:
    times = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: times[0])
    tell = step_printer()
    for i in range(5):
        tell(Step(i + 1, 5.0 / (i + 1), 100.0 - i, 1.0))
        times[0] += 0.9
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "1 evaluations, distance 5, effective sample size 100",
        "4 evaluations, distance 1.25, effective sample size 97",
    ]
