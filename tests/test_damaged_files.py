"""Whatever is damaged in a file from elsewhere, only errors of ours come out, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.damaged_files import EVERY_BYTE, FORMATS


def require_refusals(folder: Path, count: int, kinds: list[str]) -> None:
    """Read damaged copies in a process of its own, as what is wrong may end it."""
    command = [
        sys.executable,
        "-m",
        "tests.helpers.damaged_files",
        str(folder),
        str(count),
        "0",
        *kinds,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


def test_damaged_files_raise_errors_of_ours(tmp_path: Path) -> None:
    require_refusals(tmp_path, 40, list(FORMATS))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in EVERY_BYTE])
def test_many_damaged_files_raise_errors_of_ours(kind: str, tmp_path: Path) -> None:
    require_refusals(tmp_path, 2000, [kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zip", "tar", "npz", "npy", "parquet", "tfrecords"])
def test_no_byte_of_a_file_raises_anything_else(kind: str, tmp_path: Path) -> None:
    require_refusals(tmp_path, 0, [kind])
