"""The guide of intervals is true: its commands run, on features of numbers."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.metrics.registry import METRICS
from tests.conftest import write_set
from tests.docs.blocks import commands, text_of

PAGE = "docs/guides/how-sure.md"


def invoke(line: str) -> str:
    done = CliRunner().invoke(main, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    latents = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    features = {
        "real": latents[::-1] * 0.9 + [0.5, 0, 0],
        "generated": latents,
        "earlier": latents * 1.5 + 1,
    }
    for name, x in features.items():
        x = x.astype(np.float32)
        write_set(f"demo-output/{name}", {"pre_logits": x, "logits": x}, extractor="digits")
    assert "[low, high] of FD, Top-1 distance" in invoke(commands(PAGE, "intervals")[0])
    extract, compare = commands(PAGE, "compare")
    invoke(extract.replace("0-1999", "0-1").replace("demo-output/earlier", "few"))
    printed = invoke(compare)
    assert "FD digits: generated is better" in printed
    assert "an interval of the difference" in printed


def test_every_metric_without_an_interval_has_a_reason() -> None:
    table = text_of(PAGE).partition("## Which numbers have none")[2]
    for name, metric in METRICS.items():
        assert metric.interval or f"`{name}`" in table, name
