"""Accept one GPU: check and measure all that runs on it, in at most ten minutes.

    python benchmarks/gpu.py [--device cuda] [--out gpu-acceptance] [--minutes 10] [--only PHASE]
    python benchmarks/gpu.py --device cpu --tiny

Needs no network, no trained weights and no FAISS. A phase ends at its limit of time; one for which
no time is left is told as "not run". OUT/gpu.json is written after every phase, and a table is
printed at the end and kept as OUT/gpu.txt. Exits with 1 if a check fails. Targets, which were
worked out for an H200 and are no promise, are told as met or missed.

The CPU with tiny sizes runs the same lines, so that they cannot rot; what only a GPU can tell is
told as "not on a CPU".
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from gpu_acceptance.device_tests import run_device_tests
from gpu_acceptance.extractors import measure_extractors
from gpu_acceptance.failures import check_failures
from gpu_acceptance.frechet_root import measure_frechet
from gpu_acceptance.heatmaps import measure_heatmaps
from gpu_acceptance.machine import measure_machine
from gpu_acceptance.neighbors import measure_neighbors
from gpu_acceptance.phase import Phase, PhaseResult
from gpu_acceptance.resizes import check_resizes
from gpu_acceptance.reweighting import measure_reweighting
from gpu_acceptance.runner import run_phases
from gpu_acceptance.stages import measure_stage, measure_workers
from gpu_acceptance.stylegan2 import measure_stylegan2
from gpu_acceptance.tables import format_table, to_json

# The seconds are what each phase may take of ten minutes; what it leaves over, later ones may take.
PHASES = (
    Phase("machine", 15, measure_machine),
    Phase("tests", 65, run_device_tests),
    Phase("extractors", 95, measure_extractors),
    Phase("resize", 10, check_resizes),
    Phase("stylegan2", 45, measure_stylegan2),
    Phase("stage", 35, measure_stage),
    Phase("workers", 80, measure_workers),
    Phase("failures", 45, check_failures),
    Phase("neighbors", 90, measure_neighbors),
    Phase("reweighting", 40, measure_reweighting),
    Phase("frechet", 20, measure_frechet),
    Phase("heatmaps", 20, measure_heatmaps),
)


def parse_arguments(phases: Sequence[Phase], arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exit with 2 if it names a phase that does not exist."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes for a CPU")
    parser.add_argument("--out", type=Path, default=Path("gpu-acceptance"), help="a folder")
    parser.add_argument("--minutes", type=float, default=10)
    names = [phase.name for phase in phases]
    parser.add_argument("--only", action="append", choices=names, help="may be repeated")
    return parser.parse_args(arguments)


def describe_run(options: argparse.Namespace) -> dict[str, object]:
    """Return what a run is about, for its file of results."""
    return {
        "device": options.device,
        "tiny": options.tiny,
        "minutes": options.minutes,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
    }


def announce(result: PhaseResult) -> None:
    """Print that a phase begins."""
    print(f"{result.name}, at most {result.limit:.0f} s", flush=True)


def main(arguments: Sequence[str] | None = None, phases: Sequence[Phase] = PHASES) -> int:
    """Run the phases; return 1 if a check failed, else 0."""
    options = parse_arguments(phases, arguments)
    chosen = [phase for phase in phases if not options.only or phase.name in options.only]
    about = describe_run(options)
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[PhaseResult] = []
    with tempfile.TemporaryDirectory() as folder:
        for results in run_phases(
            chosen,
            device=torch.device("cuda:0" if options.device == "cuda" else "cpu"),
            tiny=options.tiny,
            folder=Path(folder),
            seconds=60 * options.minutes,
            begin=announce,
        ):
            write_whole(options.out / "gpu.json", to_json(about, results))
    table = format_table(results)
    write_whole(options.out / "gpu.txt", table + "\n")
    print(table)
    return int(any(result.has_failed for result in results))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it sees the old text or the new one."""
    aside = path.with_suffix(".aside")
    aside.write_text(text)
    aside.replace(path)


if __name__ == "__main__":
    sys.exit(main())
