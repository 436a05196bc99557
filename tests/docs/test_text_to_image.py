"""The guide of text to image: its source with prompts and its score, on fewer samples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from raymetrics.cli import main as cli
from raymetrics.shards.shard_set import open_shards
from tests.docs.blocks import block, commands

PAGE = "docs/guides/text-to-image.md"

pytestmark = pytest.mark.usefixtures("no_actors")


def test_a_score_of_prompted_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real digits are recognized more surely than generated ones, and all are of their prompts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_digits.py").write_text(block(PAGE, "my-prompted-digits"))
    (tmp_path / "my_scores.py").write_text(block(PAGE, "my-scores"))
    printed = []
    for line in commands(PAGE, "score"):
        words = line.replace("0-1999", "0-119").replace("'", "").split()[1:]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    *_, evaluated, by_label = printed
    (mean,) = re.findall(r"score PromptFit +(0\.\d+) ± 0\.0\d+ +higher is better", evaluated)
    assert float(mean) > 0.8
    assert "FD digits" in evaluated
    assert by_label.count("score PromptFit, label ") == 10
    prompts = open_shards("prompted/generated").block(range(120), ["prompt", "label"])
    assert prompts["prompt"][0] == f"the digit {prompts['label'][0]}"
