"""Commands that are killed with -9 after some of their shards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_PATIENCE = 400  # seconds


def kill_after_shards(command: Sequence[str], folder: Path, count: int) -> None:
    """Run a command, and kill all of its processes once so many shards are in the folder."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        deadline = time.monotonic() + _PATIENCE
        while len(list(folder.glob("samples*.parquet"))) < count:
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    time.sleep(1)  # workers that outlive their driver by a moment may still commit
