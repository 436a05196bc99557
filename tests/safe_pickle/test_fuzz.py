"""The fuzzer of pickles, in a process of its own: a crash of it is a failure with a seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import raymetrics

FUZZ = Path(__file__).parents[1] / "helpers" / "fuzz.py"


def require_safe(first: int, count: int, folder: Path) -> None:
    """All programs of these seeds come out as plain values or as errors of ours."""
    paths = [Path(raymetrics.__file__).parents[1], FUZZ.parent]
    done = subprocess.run(
        [sys.executable, str(FUZZ), str(first), str(count), str(folder)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    )
    seed = (folder / "seed").read_text() if (folder / "seed").exists() else "none"
    assert done.returncode == 0, f"at seed {seed}, exit {done.returncode}:\n{done.stderr[-3000:]}"
    assert "arrays came out 0 times" not in done.stdout


def test_a_few_programs(tmp_path: Path) -> None:
    require_safe(0, 60, tmp_path)


@pytest.mark.slow
def test_many_programs(tmp_path: Path) -> None:
    require_safe(1000, 4000, tmp_path)
