"""The README is true: its commands and its Python are run, on fewer samples."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from click.testing import CliRunner
from PIL import Image

from raymetrics.cli import main as cli
from raymetrics.demo.__main__ import main as demo
from raymetrics.evaluation import METRICS
from raymetrics.extractors import NAMED as EXTRACTORS
from raymetrics.generators import NAMED as SOURCES
from raymetrics.metrics import CONVENTIONS, PROTOCOLS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FEWER = {"0-9999": "0-99", '"0-1199"': '"0-1099"'}


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found


def run(command: list[str], folder: Path) -> str:
    """What a command prints, in a folder, where it must succeed."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        # The Ray that runs already, joined as a job joins its cluster: starting one takes long.
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
    }
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commands(block: int) -> list[str]:
    """The lines of a session at a terminal."""
    return [line.removeprefix("$ ") for line in blocks("console")[block].splitlines()]


def fewer(text: str) -> str:
    """The same with fewer samples."""
    for many, few in FEWER.items():
        text = text.replace(many, few)
    return text


pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: their generator, and photographs of two sizes."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "my_generator.py").write_text(blocks("python")[0])
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (40 + i, 50, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{i}.jpg")
    return folder


def test_the_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = commands(0)
    assert len(lines) == 5
    # The first as a user's shell would; the others in this process, which is faster.
    monkeypatch.chdir(folder)
    printed = [run(shlex.split(fewer(line)), folder) for line in lines[:2]]
    for line in lines[2:]:
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, done.output
        printed.append(done.output)
    assert "100 samples in all" in printed[0]
    assert "40 samples in all" in printed[1]
    assert "sealed        yes" in printed[2]
    assert "FD efficientnet-lite0" in printed[3]
    assert (folder / "report" / "index.html").exists()


def test_the_python(folder: Path) -> None:
    _, example, shards = blocks("python")
    (folder / "example.py").write_text(fewer(example))
    printed = run([sys.executable, "example.py"], folder).splitlines()
    label, value = re.match(r"(.*) (\d+\.\d+) \{'ddof': 1", printed[0]).groups()
    assert label == "FD digits"
    assert float(printed[1]) == pytest.approx(float(value), rel=1e-9)
    assert printed[2].startswith("PrecisionRecall(precision=0.")
    (folder / "shards.py").write_text(shards)
    assert "110" in run([sys.executable, "shards.py"], folder)


def print_demo(folder: Path) -> str:
    """What `make demo` prints, on fewer samples."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        demo([str(folder)], samples="0-1099", extractors=["digits"])
    return printed.getvalue()


@pytest.fixture(scope="module")
def demo_output(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the demo, and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo-output"
    return folder, print_demo(folder)


def test_the_demo_on_fewer_samples(demo_output: tuple[Path, str]) -> None:
    """As `make demo` runs it; the second time nothing is made, and the numbers are the same."""
    folder, first = demo_output
    second = print_demo(folder)
    for text in (first, second):
        assert f"page    {folder}/index.html" in text
        assert "FD digits" in text
    assert "3 shards made, 0 were there" in first
    assert second.count("0 shards made, 3 were there") == 2
    assert "evaluating" not in second
    tables = [text[text.index("metric ") : text.index("page ")] for text in (first, second)]
    assert tables[0] == tables[1]


def test_every_number(demo_output: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All metrics, a convention, labels, a column; and a protocol that takes more samples."""
    monkeypatch.chdir(demo_output[0].parent)
    lines = [*commands(1), next(x for x in README.splitlines() if "--protocol fid50k" in x)[2:]]
    done = [CliRunner().invoke(cli, shlex.split(line)[1:]) for line in lines]
    assert [run.exit_code for run in done] == [0, 0, 0, 0, 2], [run.output for run in done]
    printed = [run.output for run in done]
    for metric in METRICS.values():
        if metric.only is None:
            assert f",{metric.name}" in lines[0].replace(" ", ",")
    for label in ("FD-infinity digits", "FD at 110 digits", "Vendi digits", "PRD F_1/8 digits"):
        assert label in printed[0]
    assert pq.read_table("realism.parquet").num_rows == 1100
    assert "k=5, self=excluded, ball=open (<)" in printed[1]
    assert "FD digits, label 9" in printed[2]
    assert "FD digits logits" in printed[3]
    text = "fid50k_full takes 50000 generated samples, there are"
    assert f"{text} 1100" in printed[4]
    assert f"{text} 2000" in README


def test_conventions_and_protocols_are_in_the_readme() -> None:
    for name in (*CONVENTIONS, *PROTOCOLS, *METRICS):
        assert f"`{name}`" in README


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.findall(r"@[A-Z]+@", README)


def test_make_runs_what_the_readme_says() -> None:
    dry = subprocess.run(
        ["make", "-n", "demo", "test"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for command in ("-m raymetrics.demo", "ruff check", "mypy", "-m pytest"):
        assert command in dry
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_sources_and_extractors_are_in_the_tables() -> None:
    for name in (*SOURCES, *EXTRACTORS):
        assert f"| `{name}`" in README
    for target in re.findall(r"make (\w+)`", README):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
