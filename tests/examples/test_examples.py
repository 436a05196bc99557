"""The examples run, as they are, on fewer samples."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FEW = "0-119"

pytestmark = pytest.mark.usefixtures("no_actors")


def run_example(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program as `python examples/NAME FOLDER SAMPLES` does."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, "argv", [name, str(folder), FEW])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_every_example_is_run() -> None:
    source = Path(__file__).read_text()
    for file in EXAMPLES.iterdir():
        if file.suffix in (".py", ".ipynb"):
            assert f'"{file.name}"' in source, f"no test runs {file}"


def test_fid_of_my_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("fid_of_my_model.py", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert "FD digits" in printed
    assert "recall digits" in printed
    assert (tmp_path / "index.html").exists()


def test_compare_two_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("compare_two_checkpoints.py", tmp_path, monkeypatch)
    assert "the smaller distance: 5000 steps" in capsys.readouterr().out


def test_custom_extractor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_example("custom_extractor.py", tmp_path, monkeypatch)
    printed = capsys.readouterr().out
    assert [line.rsplit(maxsplit=1)[0].rstrip() for line in printed.splitlines()] == [
        "FD cells-4",
        "FD cells-7",
        "FD digits",
    ]


def test_read_shards() -> None:
    """The notebook's cells of code, one after another, in plain Python."""
    cells = json.loads((EXAMPLES / "read_shards.ipynb").read_text())["cells"]
    names: dict[str, object] = {"__name__": "notebook"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert names["ours"] == pytest.approx(names["theirs"], rel=1e-6)
