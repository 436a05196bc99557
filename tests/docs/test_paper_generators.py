"""The commands of the page on the papers' generators, on small networks with random weights."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from fastgan_pickles import Generator
from PIL import Image

from raymetrics import results
from raymetrics.cli import main
from tests.docs.blocks import block, command
from tests.generators.biggan import test_biggan as biggan
from tests.generators.fastgan import test_fastgan as fastgan

PAGE = "docs/guides/paper-generators.md"
SMALLER = {
    "inception,vgg16,clip-vit-b-32": "digits", "vgg16": "digits", "0-49999": "0-11",
    "0-1299": "0-19", "size=256": "size=16",
}  # fmt: skip

pytestmark = pytest.mark.usefixtures("no_actors")


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def invoke(line: str) -> str:
    """Run a command of the page in this process, on less; return what it prints."""
    for larger, smaller in SMALLER.items():
        line = line.replace(larger, smaller)
    done = CliRunner().invoke(main, [*shlex.split(line)[1:], "--local"])
    assert done.exit_code == 0, done.output
    return done.output


def test_biggan(tmp_path: Path) -> None:
    state = biggan.random_state()
    state["embeddings.weight"] = torch.randn(biggan.Z, 1000)
    biggan.saved(tmp_path, state, biggan.CONFIG | {"num_classes": 1000}, "biggan-deep-256-")
    assert "12 samples in all" in invoke(command(PAGE, "biggan"))
    photos = tmp_path / "imagenet" / "train" / "n07749582"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(photos / f"{i}.png")
    plan = block(PAGE, "biggan-plan").replace("|0.44|0.58|0.72|0.86|", "|")
    (tmp_path / "plan.csv").write_text(plan)
    invoke(command(PAGE, "biggan-sweep"))
    found = results.read_results("lemons/results.jsonl")
    amounts = [r.setting["amount"] for r in found if r.metric == "recall"]
    assert amounts == [0.3, 1]


def test_fastgan(tmp_path: Path) -> None:
    fastgan.saved(tmp_path, Generator(), "ffhq.pkl")
    assert "12 samples in all" in invoke(command(PAGE, "fastgan"))
