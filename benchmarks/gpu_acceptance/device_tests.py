"""The tests phase: `pytest -m gpu`, in the files that have tests of a device."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from gpu_acceptance.phase import ROOT, PhaseRun

# A test of a device takes the fixture `device`, or has the mark.
_OF_A_DEVICE = re.compile(r"def \w+\([^)]*\bdevice\b|mark\.gpu\b")
_CONFTEST = "conftest.py"  # defines both
_END_SECONDS = 5.0  # to read the report


def run_device_tests(run: PhaseRun) -> None:
    """Run the tests that need a GPU; on a CPU check that each is skipped with a reason."""
    report = run.folder / "device-tests.xml"
    files = [file for file in sorted((ROOT / "tests").rglob("*.py")) if has_device_tests(file)]
    processes = ["-n", "4", "--dist", "worksteal"] if run.on_gpu else []
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-o", "filterwarnings=default"]
    command += [*processes, f"--junitxml={report}", *map(str, files)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=run.seconds_left - _END_SECONDS,
    )
    outcomes, reasons = read_report(report) if report.exists() else (Counter(), Counter())
    counts = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    run.check(
        "pytest -m gpu", done.returncode == 0, "; ".join([counts or done.stderr[-200:], *failed])
    )
    if run.on_gpu:
        run.check("tests ran on the GPU", outcomes["passed"] > 0, counts)
    for reason, count in sorted(reasons.items()):
        run.leave_out(f"{count} tests", reason)


def has_device_tests(file: Path) -> bool:
    """Return whether a file of tests has tests that need a device."""
    return file.name != _CONFTEST and _OF_A_DEVICE.search(file.read_text()) is not None


def read_report(report: Path) -> tuple[Counter[str], Counter[str]]:
    """Read a report of pytest: how many tests had each outcome, and each reason to skip."""
    outcomes, reasons = Counter[str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        [outcome] = {child.tag for child in case} & {"failure", "error", "skipped"} or {"passed"}
        outcomes[outcome] += 1
        reasons.update(child.get("message", "") for child in case.iter("skipped"))
    return outcomes, reasons
