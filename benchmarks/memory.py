"""What large sets take: time and memory of exact precision and recall.

    python benchmarks/memory.py [--memory 50000] [--shards 200000]

First two sets of 2048 dimensions in memory, in a process of its own: the memory above that of the
features, and passes (2 N^2 D operations at the rate of sgemm in the same process, all cores). Then
two shard sets of 512 dimensions, through Ray: the memory of all its processes together, which is
counted once where they share it. It fails above the promised memory.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

MOST_ABOVE_FEATURES, MOST_OF_SHARDS = 1.0, 4.0  # GB
RANK = 128


def features(rows: int, dimension: int, seed: int, into: np.ndarray | None = None) -> np.ndarray:
    """ReLU of a low-rank Gaussian mixture, made in blocks."""
    shape, rng = np.random.default_rng(0), np.random.default_rng(seed)
    scale = np.arange(1, RANK + 1) ** -0.62
    directions = (shape.normal(size=(RANK, dimension)) / RANK**0.5).astype(np.float32)
    centres = shape.normal(size=(200, RANK)) * scale
    found = np.empty((rows, dimension), np.float32) if into is None else into
    for start in range(0, rows, 2000):
        some = found[start : start + 2000]
        z = centres[rng.integers(0, 200, len(some))] + 0.6 * scale * rng.normal(
            size=(len(some), RANK)
        )
        noise = 0.015 * rng.standard_normal(size=some.shape, dtype=np.float32)
        np.maximum(z.astype(np.float32) @ directions + noise, 0, out=some)
    return found


def peak() -> float:
    """The largest memory of this process so far, in GB; not ru_maxrss, which is inherited."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(found[1]) * 1024 / 1e9 if found else 0.0


def in_memory(rows: int) -> None:
    """The child process: prints seconds, passes, GB above the features, engine, both numbers."""
    from raymetrics.metrics import precisions_recalls, survey
    from raymetrics.neighbors import choose

    real, generated = features(rows, 2048, 1), features(rows, 2048, 2)
    some = real[:4096]
    np.matmul(some, some.T)
    start = time.monotonic()
    np.matmul(some, some.T)
    one_pass = (time.monotonic() - start) * (rows / len(some)) ** 2
    before, start = peak(), time.monotonic()
    engine = choose(real=real, generated=generated)
    found = survey(real=real, generated=generated, ks=[3], search=engine, count=False)
    taken = time.monotonic() - start
    ((precision, recall),) = precisions_recalls(found)
    print(taken, taken / one_pass, peak() - before, engine.name, precision, recall)


def write(uri: str, rows: int, dimension: int, seed: int) -> None:
    """A shard set of made-up features."""
    from raymetrics.shards import layout, schema
    from raymetrics.shards.shard_set import open_shards
    from raymetrics.shards.store import Store
    from raymetrics.shards.writer import commit, seal

    columns = schema.columns_of("made-up", {"pre_logits": dimension})
    spec = layout.DatasetSpec(
        source="numbers",
        generator={"name": "numbers", "seed": seed},
        extractors=[{"name": "made-up", "resize": "none"}],
        columns=columns,
        class_names={},
        labels=False,
        shard_rows=8192,
        samples=(range(rows),),
    )
    store = Store(uri)
    layout.enter(store, spec)
    for start in range(0, rows, 8192):
        ids = np.arange(start, min(start + 8192, rows))
        values = {columns[0].name: features(len(ids), dimension, 1000 * seed + start)}
        commit(store, schema.to_table(columns, ids, None, values), spec.fingerprint)
    seal(open_shards(uri))


def of_processes(stop: threading.Event, kept: list[float]) -> None:
    """The largest memory of this process and all that it started, as long as it is not stopped."""
    while not stop.wait(2.0):
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        kept.append(total / 1e9)


def by_shards(folder: str, rows: int) -> tuple[float, float, str]:
    """Seconds, GB of all processes, and what was found."""
    from raymetrics.studies.evaluate import evaluate

    for side, seed in (("real", 1), ("generated", 2)):
        write(f"{folder}/{side}", rows, 512, seed)
    stop, kept = threading.Event(), [0.0]
    watch = threading.Thread(target=of_processes, args=(stop, kept))
    watch.start()
    start = time.monotonic()
    found = evaluate(real=f"{folder}/real", generated=f"{folder}/generated", metrics=["pr"])
    taken = time.monotonic() - start
    stop.set()
    watch.join()
    said = ", ".join(f"{r.metric} {r.value:.4f}" for r in found)
    return taken, max(kept), f"{said} by {found[0].convention['engine']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=int, default=50_000)
    parser.add_argument("--shards", type=int, default=200_000)
    parser.add_argument("--child", type=int)
    asked = parser.parse_args()
    if asked.child:
        in_memory(asked.child)
        return
    failed = []
    if asked.memory:
        command = [sys.executable, __file__, "--child", str(asked.memory)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        taken, passes, above = map(float, out[:3])
        print(f"{asked.memory} x {asked.memory} x 2048 in memory, {os.cpu_count()} cores")
        print(f"  {out[3]}: {taken:.0f} s, {passes:.2f} passes, {above:.2f} GB above the features")
        print(f"  precision {out[4]}, recall {out[5]}", flush=True)
        failed += ["memory"] if above > MOST_ABOVE_FEATURES else []
    if asked.shards:
        with tempfile.TemporaryDirectory() as folder:
            taken, memory, said = by_shards(folder, asked.shards)
        print(f"{asked.shards} x {asked.shards} x 512 from shards, {os.cpu_count()} cores")
        print(f"  {taken:.0f} s, {memory:.2f} GB in all processes; {said}")
        failed += ["shards"] if memory > MOST_OF_SHARDS else []
    if failed:
        sys.exit(
            f"promised: {MOST_ABOVE_FEATURES} GB above features, {MOST_OF_SHARDS} GB of shards"
        )


if __name__ == "__main__":
    main()
