"""Measure the rate of matching against plain extraction, and the memory of all processes.

    python benchmarks/match.py [--draws 1500000] [--classes 1000] [--n 50000] [--batch 1024]

The generator's images are one number, from which the extractor makes logits and a few features, so
that only the stream itself is measured. The classes are skewed; the real histogram has a class that
is never generated, so that drawing continues to `--draws`. First that many samples are extracted,
then as many are drawn by a match, each in a process and a Ray of its own; the rates are from the
first shard to the last.

Memory is the peak of the sum over the driver and its workers, with the proportional part of shared
memory, and without the object store, which holds features in transit; Ray's own processes are
counted separately. Fails if a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

MIN_RATIO, MAX_GB = 0.9, 2.0
OUR_PROCESSES = re.compile(
    r"ray::(MapWorker|Gate|ReadUnitSource|map_in_order|_fold_group|read_shard_classes)"
)
FOLDER = Path(__file__).parent


class Numbers:
    """Images of 2 x 2 pixels that store the class of their id in two bytes."""

    spec: ClassVar[dict[str, object]] = {}

    def __init__(self, classes: str) -> None:
        weights = 1.0 / (10 + np.arange(int(classes) - 1))
        self.borders = np.cumsum(weights / weights.sum())[:-1]

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        scattered = (sample_ids * 2654435761 % 2**32) / 2**32
        numbers = np.searchsorted(self.borders, scattered, side="right")
        images = np.zeros((len(numbers), 3, 2, 2), np.uint8)
        images[:, 0, 0, 0], images[:, 1, 0, 0] = numbers // 256, numbers % 256
        return images


class Logits:
    """Logits with their maximum at the number in an image, and four features."""

    block = 1024

    def __init__(self, classes: str) -> None:
        self.classes = int(classes)
        self.columns = {"features": 4, "logits": self.classes}
        self.spec: dict[str, object] = {}

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        numbers = images[:, 0, 0, 0].astype(int) * 256 + images[:, 1, 0, 0]
        logits = np.zeros((len(images), self.classes), np.float32)
        logits[np.arange(len(images)), numbers] = 1
        return {"features": images[:, :1].reshape(-1, 4).astype(np.float32), "logits": logits}


def run_one_stream(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Run one of the two streams in a process of its own; return its rate, time and memory."""
    from raymetrics.distributed.extraction.extract import extract
    from raymetrics.distributed.resources import Resources
    from raymetrics.distributed.session import session
    from raymetrics.studies.match.draw import draw_matched

    source, extractor = (
        f"match:Numbers?classes={args.classes}",
        f"match:Logits?classes={args.classes}",
    )
    resources = Resources(actors=args.actors, batch=args.batch)
    rates: list[float] = []
    options: dict[str, Any] = {"shard_rows": args.shard_rows, "resources": resources}

    def record_rate(progress: Any) -> None:
        rates.append(progress.rate)

    with session(), MemoryWatch() as memory:
        start = time.monotonic()
        if args.one == "extract":
            rows = extract(
                source, [extractor], folder, range(args.draws), progress=record_rate, **options
            ).rows
        else:
            match_result = draw_matched(
                real=f"{folder}/real",
                generated=source,
                to=folder,
                extractors=[extractor],
                n=args.n,
                max_draws=args.draws,
                progress=record_rate,
                **options,
            )
            rows = match_result.draws
        seconds = time.monotonic() - start
    return {
        "rows": rows,
        "rate": rates[-1],
        "seconds": seconds,
        **memory.peaks,
        "processes": memory.processes,
    }


class MemoryWatch:
    """The peak memory of this process and its descendants in GB, read every two seconds."""

    def __init__(self) -> None:
        self.peaks = {"driver": 0.0, "actors": 0.0, "ray": 0.0, "all": 0.0}
        self.processes: dict[str, float] = {}  # at the peak of all
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil

        driver = psutil.Process()
        while not self._ended.wait(2):
            current = dict.fromkeys(self.peaks, 0.0)
            processes: dict[str, float] = {}
            for process in [driver, *driver.children(recursive=True)]:
                try:
                    own_bytes = process.memory_full_info().pss - shared_memory_bytes(process.pid)
                    name = " ".join(process.cmdline()[:1])
                except (psutil.Error, OSError):
                    continue
                kind = (
                    "driver"
                    if process == driver
                    else "actors"
                    if OUR_PROCESSES.search(name)
                    else "ray"
                )
                current[kind] += own_bytes / 1e9
                processes[f"{process.pid} {name}"] = own_bytes / 1e9
            current["all"] = current["driver"] + current["actors"]
            if current["all"] > self.peaks["all"]:
                self.processes = processes
            self.peaks = {kind: max(peak, current[kind]) for kind, peak in self.peaks.items()}


def shared_memory_bytes(pid: int) -> int:
    """Return the process's part of the object store in bytes, which holds features in transit."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    shmem = [line.split()[1] for line in text.splitlines() if line.startswith("Pss_Shmem:")]
    return int(shmem[0]) * 1024 if shmem else 0


def write_real_set(uri: str, classes: int) -> None:
    """Write a real set with 20 samples of each class; the last class is never generated."""
    import torch

    from raymetrics.extractors import make_extractor
    from raymetrics.shards import layout, schema
    from raymetrics.shards.layout import DatasetSpec
    from raymetrics.shards.seal import seal_set
    from raymetrics.shards.shard_set import open_shards
    from raymetrics.shards.store import Store
    from raymetrics.shards.writer import commit_shard

    extractor = make_extractor(f"match:Logits?classes={classes}", torch.device("cpu"))
    columns = schema.make_columns(extractor.name, extractor.columns)
    numbers = np.repeat(np.arange(classes), 20)
    images = np.zeros((len(numbers), 3, 2, 2), np.uint8)
    images[:, 0, 0, 0], images[:, 1, 0, 0] = numbers // 256, numbers % 256
    outputs = extractor(images)
    spec = DatasetSpec(
        "numbers",
        {"name": "numbers"},
        [extractor.spec],
        columns,
        {},
        False,
        len(numbers),
        (range(len(numbers)),),
        (extractor.name,),
    )
    store = Store(uri)
    layout.create_or_extend_spec(store, spec)
    features = {column.name: outputs[column.output] for column in columns}
    table = schema.to_table(columns, np.arange(len(numbers)), None, features)
    commit_shard(store, table, spec.fingerprint)
    seal_set(open_shards(uri))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1_500_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--shard-rows", type=int, default=4096)
    parser.add_argument("--actors", type=int)
    parser.add_argument("--one", choices=["extract", "match"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_one_stream(args, args.folder)))
        return
    measurements = {}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(FOLDER))
    for stream_name in ("extract", "match"):
        with tempfile.TemporaryDirectory() as folder:
            if stream_name == "match":
                write_real_set(f"{folder}/real", args.classes)
            command = [
                sys.executable,
                __file__,
                *sys.argv[1:],
                "--one",
                stream_name,
                "--folder",
                folder,
            ]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            measurements[stream_name] = json.loads(out.splitlines()[-1])
    print(
        f"{args.draws} draws, {args.classes} logits, shards of {args.shard_rows}, batches of "
        f"{args.batch}, {os.cpu_count()} cores"
    )
    for stream_name, name in (("extract", "extracted"), ("match", "drawn and matched")):
        row = measurements[stream_name]
        print(
            f"  {name:<18} {row['rate']:9.0f} rows/s  {row['seconds']:6.0f} s in all   driver "
            f"{row['driver']:.2f} GB, actors {row['actors']:.2f} GB, together {row['all']:.2f} GB; "
            f"Ray's own processes {row['ray']:.2f} GB"
        )
    ratio = measurements["match"]["rate"] / measurements["extract"]["rate"]
    print(f"  ratio              {ratio:9.2f}")
    if ratio < MIN_RATIO or measurements["match"]["all"] > MAX_GB:
        sys.exit(f"promised: {MIN_RATIO} of the rate of extraction, {MAX_GB} GB")


if __name__ == "__main__":
    main()
