"""Run the first call of a network from a file in another process, which can be ended.

A TorchScript program may never end, and Python cannot end a thread that waits for torch. A process
can be ended, and if it crashes or runs out of memory, no other process ends with it.

The trial takes the seconds that Python needs to import torch, once for each network, and only on
the driver. Workers open the same file without a trial; Ray ends workers that make no progress
(`raymetrics.distributed.session.NO_PROGRESS_SECONDS`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import torch

from raymetrics import errors
from raymetrics.errors import ExtractorError, RaymetricsError

TRIAL_SECONDS = 600.0  # a large network takes a minute for a batch of images on one core


def try_columns(text: str, device: torch.device, limit: float) -> dict[str, int]:
    """Open an extractor in another process, and return its columns, {name: d}.

    text: as `raymetrics.extractors.make_extractor` takes it. limit: seconds. Raises the error of
    `make_extractor` if it raises one, and ExtractorError if the trial takes longer than the limit
    or the process ends by a signal or with another exit code than 0.
    """
    path = os.pathsep.join(filter(None, sys.path))
    try:
        process = subprocess.run(
            [sys.executable, "-m", __name__, text, str(device)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExtractorError(
            f"{text} gave no features within {limit:g} s for a block of grey images; give it a "
            "smaller block (?block=1) if it is slow, and do not use it if it never ends"
        ) from None
    if process.returncode:
        reason = _exit_reason(process.returncode)
        raise ExtractorError(
            f"{text} ended the process in which it was tried by {reason}; try it alone in Python: "
            "the file, this torch, or the memory of this machine is at fault"
        )
    answer = json.loads(process.stdout.splitlines()[-1])
    if "error" in answer:
        raise getattr(errors, answer["error"])(answer["message"])
    columns: dict[str, int] = answer["columns"]
    return columns


def _exit_reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _columns_or_error(text: str, device: str) -> dict[str, object]:
    from raymetrics.extractors import make_extractor

    try:
        return {"columns": dict(make_extractor(text, torch.device(device)).columns)}
    except RaymetricsError as error:
        return {"error": type(error).__name__, "message": error.message}


if __name__ == "__main__":
    print(json.dumps(_columns_or_error(*sys.argv[1:])))
