"""The stage and the workers phase: generate and extract in a loop, without Ray, and on Ray."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
import psutil
import torch

from gpu_acceptance.extractors import same
from gpu_acceptance.phase import PhaseRun
from gpu_acceptance.stylegan2 import network_file
from gpu_acceptance.timing import record_gpu, sample_utilization, synchronize
from raymetrics.distributed.devices import use_deterministic_kernels
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.extraction.set_in_progress import Extraction
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.extractors.base import extract_tensors
from raymetrics.generators import Generator, open_source
from raymetrics.generators.base import generate_tensors
from raymetrics.shards.schema import make_columns
from raymetrics.shards.shard_set import open_shards

_LOOP_SECONDS = 10.0  # of the bare loop
_PROFILED_BLOCKS = 8
_LEAST_RATIO, _LEAST_BUSY = 0.9, 0.85
_POLL_SECONDS = 0.01
_WORKER = "ShardWorker"  # in the title of a worker's process


def source(run: PhaseRun) -> str:
    """Return the source of both phases."""
    return network_file(run, run.size(256, 32))


def extractor_names(run: PhaseRun) -> list[str]:
    """Return the extractors of both phases."""
    return run.size(["untrained-inception", "untrained-vgg16"], ["untrained-digits"])


def shard_rows(run: PhaseRun) -> int:
    """Return the samples of a shard, a multiple of all blocks."""
    return run.size(512, 32)


# --- Without Ray ---


def measure_stage(run: PhaseRun) -> None:
    """Measure a bare loop on the device, and the stage that writes shards, in this process."""
    use_deterministic_kernels()
    names = extractor_names(run)[:1]
    generator = open_source(source(run), run.device)
    extractor = make_extractor(names[0], run.device)
    loop_rate, features = run_bare_loop(run, generator, extractor)
    run.figure("bare loop", loop_rate, "images/s")
    with sample_utilization(run.device) as utilization:
        stage_rate, stage = fused_stage(run, names, range(len(features)))
    [column] = make_columns(extractor.name, extractor.columns)[:1]
    made = stage.shards.read(column.name)
    run.check("the stage has the bits of the loop", same(made, features), f"{len(made)} rows")
    run.figure("stage without Ray, from its first shard on", stage_rate, "images/s")
    run.figure("stage / bare loop", stage_rate / loop_rate, "", at_least=_LEAST_RATIO)
    if run.needs_gpu("GPU busy", "there is none"):
        measure_busy(run, generator, extractor, stage_rate / loop_rate, utilization)


def run_bare_loop(
    run: PhaseRun, generator: Generator, extractor: Extractor
) -> tuple[float, np.ndarray]:
    """Generate and extract shard by shard; return images a second and the first column.

    It ends after some seconds, with at least two shards.
    """
    rows = shard_rows(run)
    parts: list[np.ndarray] = []
    loop_block(generator, extractor, np.arange(rows))  # warms up
    synchronize(run.device)
    start = time.perf_counter()
    while len(parts) < 2 or (time.perf_counter() - start < _LOOP_SECONDS and not run.tiny):
        ids = np.arange(len(parts) * rows, (len(parts) + 1) * rows)
        parts.append(loop_block(generator, extractor, ids).cpu().numpy())
    return len(parts) * rows / (time.perf_counter() - start), np.concatenate(parts)


def loop_block(generator: Generator, extractor: Extractor, ids: np.ndarray) -> torch.Tensor:
    """Compute the first column of some samples, float32 [n, d] on the device."""
    features = extract_tensors(extractor, ids, generate_tensors(generator, ids))
    return next(iter(features.values()))


def measure_busy(
    run: PhaseRun,
    generator: Generator,
    extractor: Extractor,
    ratio: float,
    utilization: list[float],
) -> None:
    """Write down for which share of the time the GPU computes and copies.

    ratio: the rate of the stage, whose kernels are those of the loop, over that of the loop.
    utilization: samples of NVML, from the start of the stage to its end.
    """
    ids = np.arange(min(shard_rows(run), _PROFILED_BLOCKS * extractor.block))
    with record_gpu(run.device) as timeline:
        loop_block(generator, extractor, ids).cpu()
    run.figure("GPU busy in the loop", timeline.busy_share, "")
    run.figure("copies in the loop", timeline.copy_seconds / timeline.seconds, "")
    busy = timeline.busy_share * ratio
    run.figure("GPU busy in the stage, from its first shard on", busy, "", at_least=_LEAST_BUSY)
    if utilization:
        run.figure("GPU busy in the stage, by NVML", float(np.mean(utilization)), "")
    else:
        run.leave_out("GPU busy in the stage, by NVML", "pynvml cannot be imported")


def fused_stage(
    run: PhaseRun, names: list[str], samples: range, folder: str = "stage"
) -> tuple[float, Extraction]:
    """Extract in this process, without Ray; return images a second from the first shard on."""
    return extract_timed(run, names, folder, samples, Resources(local=True))


def extract_timed(
    run: PhaseRun, names: list[str], folder: str, samples: range, resources: Resources
) -> tuple[float, Extraction]:
    """Extract into a folder of the run; return images a second from the first shard on."""
    reports: list[Progress] = []
    extraction = extract(
        source(run),
        names,
        str(run.folder / folder),
        samples,
        shard_rows=shard_rows(run),
        resources=resources,
        progress=reports.append,
    )
    return reports[-1].rate, extraction


# --- On Ray ---


def measure_workers(run: PhaseRun) -> None:
    """Extract on Ray undisturbed, with a worker that is killed, and with two workers."""
    samples = range(run.size(6, 16) * shard_rows(run))
    with session(cpus=os.cpu_count(), local=False):
        extract_undisturbed(run, samples)
        with WorkerKiller(run.folder / "killed") as killer:
            _, disturbed = extract_on_ray(run, "killed", samples)
        check_disturbed(run, disturbed, killer)
        if run.needs_gpu("two workers on one GPU", "there is none to share"):
            rate, _ = extract_on_ray(run, "two", samples, actors=2)
            run.figure("two workers on one GPU", rate, "images/s")


def extract_undisturbed(run: PhaseRun, samples: range) -> None:
    """Extract on Ray, or in this process if the run is tiny, as Ray's workers start slowly."""
    name = "workers on Ray, from the first shard on"
    if run.tiny:
        run.leave_out(name, "too few samples")
        fused_stage(run, extractor_names(run), samples, "calm")
    else:
        rate, _ = extract_on_ray(run, "calm", samples)
        run.figure(name, rate, "images/s")


def check_disturbed(run: PhaseRun, disturbed: Extraction, killer: WorkerKiller) -> None:
    """Check that a worker was killed, that its unit was begun again, and that no bit changed."""
    run.check("a worker was killed with -9", killer.killed is not None, killer.seen)
    repeats = disturbed.usage.repeated_shards
    run.check("its shard was begun again", repeats >= 1, f"{repeats} shards")
    equal = digests(run.folder / "calm") == digests(run.folder / "killed")
    run.check("the same bytes as undisturbed", equal, f"{disturbed.rows} rows")
    device = torch.cuda.get_device_name(run.device) if run.on_gpu else "cpu"
    devices = disturbed.shards.manifest["devices"]
    run.check("the manifest names the device", devices == [device], ", ".join(devices))
    compare_with_stage(run, disturbed)


def extract_on_ray(
    run: PhaseRun, name: str, samples: range, actors: int = 1
) -> tuple[float, Extraction]:
    """Extract with one worker or more; return images a second from the first shard on."""
    return extract_timed(run, extractor_names(run), name, samples, Resources(actors=actors))


class WorkerKiller:
    """Kills a worker with -9 as soon as a folder has a shard, while the worker makes the next.

    killed: the worker's process. seen: the title of the process, or what there was in its place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.killed: int | None = None
        self.seen = "no shard was made"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            if any(self.folder.glob("*.parquet")):
                self.kill()
                return

    def kill(self) -> None:
        """Kill a worker of this process."""
        titles = {child.pid: title(child) for child in psutil.Process().children(recursive=True)}
        for pid, text in titles.items():
            if text.startswith("ray::") and _WORKER in text:
                os.kill(pid, signal.SIGKILL)
                self.killed, self.seen = pid, text
                return
        workers = sorted(text for text in titles.values() if text.startswith("ray::"))
        self.seen = f"no process of {_WORKER} among {', '.join(workers) or 'no workers'}"


def title(process: psutil.Process) -> str:
    """Return the title of a process; "" if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every shard of a set."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.parquet"))
    }


def compare_with_stage(run: PhaseRun, made: Extraction) -> None:
    """Compare with the stage in one process, where that phase has run."""
    name = "the same features as without Ray"
    folder = run.folder / "stage"
    if not folder.exists():
        run.leave_out(name, "the stage phase has not run")
        return
    stage = open_shards(str(folder))
    column = next(iter(stage.columns))
    rows = min(len(stage), len(made.shards))
    run.check(
        name, same(stage.read(column)[:rows], made.shards.read(column)[:rows]), f"{rows} rows"
    )
