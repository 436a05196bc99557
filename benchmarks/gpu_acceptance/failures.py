"""The failures phase: what a user is told when CUDA fails in a worker, or cannot be used at all."""

from __future__ import annotations

import subprocess
import sys

from gpu_acceptance.phase import PhaseRun

_SOURCES = "gpu_acceptance.failing_sources"
_SECONDS = 10.0  # that a command takes, with the start of Ray
_REQUEST_IS_WRONG = 2  # docs/reference/errors.md
# Ray is told of a GPU, and torch sees none: a driver that is too old looks like this.
_RESERVED_GPU = """
import os, sys
os.environ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"] = "1"  # in workers, which get it below
os.environ.pop("CUDA_VISIBLE_DEVICES", None)
import ray
from raymetrics import RaymetricsError
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.resources import Resources
ray.init(
    address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False,
    runtime_env={"env_vars": {"CUDA_VISIBLE_DEVICES": "-1"}},
)
try:
    extract("digits", "digits", sys.argv[1], range(64), resources=Resources(actors=1))
except RaymetricsError as error:
    sys.exit(f"error: {error}")
"""


def check_failures(run: PhaseRun) -> None:
    """Check exit codes and messages of an extraction that CUDA ends."""
    if run.needs_gpu("a device-side assert", "a CPU has none"):
        expected = "samples 32-63 ended their worker 3 times"
        check_extraction(run, "DeviceAssert", "a device-side assert", expected)
    if run.needs_gpu("out of memory", "torch limits the memory of a GPU alone"):
        expected = "a GPU has no memory for a batch"
        check_extraction(run, "OutOfMemory", "out of memory", expected)
    check_reserved_gpu(run)


def check_extraction(run: PhaseRun, source: str, name: str, expected: str) -> None:
    """Extract from a source that fails; expect exit code 2 and one line with some words."""
    if not run.has_seconds(_SECONDS, name):
        return
    to = run.folder / source
    command = [sys.executable, "-m", "raymetrics", "extract", f"{_SOURCES}:{source}"]
    command += ["--extractor", f"{_SOURCES}:MeanColors", "--to", str(to)]
    command += ["--samples", "0-63", "--shard-rows", "32", "--batch", "16", "--actors", "1"]
    done = run_command(run, command)
    message = error_line(done)
    run.check(f"{name}: exit code", done.returncode == _REQUEST_IS_WRONG, f"{done.returncode}")
    run.check(f"{name}: message", expected in message, message)
    run.check(f"{name}: no traceback", "Traceback" not in done.stderr)


def check_reserved_gpu(run: PhaseRun) -> None:
    """Give a worker a GPU that torch cannot use; expect an error and no features of a CPU."""
    name = "a GPU that torch cannot use"
    if not run.has_seconds(_SECONDS, name):
        return
    to = run.folder / "reserved"
    done = run_command(run, [sys.executable, "-c", _RESERVED_GPU, str(to)])
    message = error_line(done)
    told = done.returncode != 0 and "torch cannot use it" in message
    run.check(f"{name} is an error", told, message or f"exit code {done.returncode}")
    run.check(f"{name} makes no shard", not list(to.rglob("*.parquet")))


def run_command(
    run: PhaseRun, command: list[str], **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that may take what is left of the phase's time."""
    return subprocess.run(
        command,
        env=run.environment(**variables),
        capture_output=True,
        text=True,
        timeout=max(1.0, run.seconds_left - 1),
    )


def error_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line with which a command told its error; "" for none."""
    return next((line for line in done.stderr.splitlines() if line.startswith("error: ")), "")
