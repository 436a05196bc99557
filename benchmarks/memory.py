"""Measure time and memory of exact precision and recall for large sets.

    python benchmarks/memory.py [--memory 50000] [--shards 200000]

First two sets of 2048 dimensions in memory, in a process of its own: the memory beyond the
features, and passes (2 N^2 D operations at the rate of sgemm in the same process, all cores). Then
two shard sets of 512 dimensions, through Ray: the memory of all its processes together, with shared
memory counted once. Fails if the memory exceeds the promise.
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

MAX_GB_ABOVE_FEATURES, MAX_GB_OF_SHARDS = 1.0, 4.0  # GB
RANK = 128


def make_features(
    rows: int, dimension: int, seed: int, buffer: np.ndarray | None = None
) -> np.ndarray:
    """Make the ReLU of a low-rank Gaussian mixture, block by block; float32 [rows, dimension]."""
    shape, rng = np.random.default_rng(0), np.random.default_rng(seed)
    scale = np.arange(1, RANK + 1) ** -0.62
    directions = (shape.normal(size=(RANK, dimension)) / RANK**0.5).astype(np.float32)
    centers = shape.normal(size=(200, RANK)) * scale
    output = np.empty((rows, dimension), np.float32) if buffer is None else buffer
    for start in range(0, rows, 2000):
        block = output[start : start + 2000]
        z = centers[rng.integers(0, 200, len(block))] + 0.6 * scale * rng.normal(
            size=(len(block), RANK)
        )
        noise = 0.015 * rng.standard_normal(size=block.shape, dtype=np.float32)
        np.maximum(z.astype(np.float32) @ directions + noise, 0, out=block)
    return output


def peak_gb() -> float:
    """Return the peak memory of this process in GB.

    VmHWM, because ru_maxrss is inherited from the parent process.
    """
    status = Path("/proc/self/status").read_text()
    match = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(match[1]) * 1024 / 1e9 if match else 0.0


def measure_in_memory(rows: int) -> None:
    """Print seconds, passes, GB beyond the features, engine, precision and recall.

    Runs in a child process.
    """
    from raymetrics.metrics import precisions_recalls, survey_manifolds
    from raymetrics.neighbors import make_engine

    real, generated = make_features(rows, 2048, 1), make_features(rows, 2048, 2)
    left, right = real[:4096], generated[:4096]
    np.matmul(left, right.T)
    start = time.monotonic()
    np.matmul(left, right.T)
    pass_seconds = (time.monotonic() - start) * (rows / len(left)) ** 2
    gb_before, start = peak_gb(), time.monotonic()
    engine = make_engine()
    manifolds = survey_manifolds(real=real, generated=generated, ks=[3], search=engine, count=False)
    survey_seconds = time.monotonic() - start
    ((precision, recall),) = precisions_recalls(manifolds)
    print(
        survey_seconds,
        survey_seconds / pass_seconds,
        peak_gb() - gb_before,
        engine.name,
        precision,
        recall,
    )


def write_set(uri: str, rows: int, dimension: int, seed: int) -> None:
    """Write a shard set of synthetic features."""
    from raymetrics.shards import layout, schema
    from raymetrics.shards.seal import seal_set
    from raymetrics.shards.shard_set import open_shards
    from raymetrics.shards.store import Store
    from raymetrics.shards.writer import commit_shard

    columns = schema.make_columns("made-up", {"pre_logits": dimension})
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
    layout.create_or_extend_spec(store, spec)
    for start in range(0, rows, 8192):
        ids = np.arange(start, min(start + 8192, rows))
        values = {columns[0].name: make_features(len(ids), dimension, 1000 * seed + start)}
        commit_shard(store, schema.to_table(columns, ids, None, values), spec.fingerprint)
    seal_set(open_shards(uri))


def watch_memory(stop: threading.Event, readings: list[float]) -> None:
    """Append the memory of this process and its descendants in GB to `readings`, until stopped."""
    while not stop.wait(2.0):
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        readings.append(total / 1e9)


def measure_shards(folder: str, rows: int) -> tuple[float, float, str]:
    """Return seconds, GB of all processes, and the numbers as text."""
    from raymetrics.studies.evaluate import evaluate

    for side, seed in (("real", 1), ("generated", 2)):
        write_set(f"{folder}/{side}", rows, 512, seed)
    stop, readings = threading.Event(), [0.0]
    watch = threading.Thread(target=watch_memory, args=(stop, readings))
    watch.start()
    start = time.monotonic()
    metric_results = evaluate(
        real=f"{folder}/real", generated=f"{folder}/generated", metrics=["pr"]
    )
    evaluate_seconds = time.monotonic() - start
    stop.set()
    watch.join()
    numbers_text = ", ".join(f"{r.metric} {r.value:.4f}" for r in metric_results)
    return (
        evaluate_seconds,
        max(readings),
        f"{numbers_text} by {metric_results[0].convention['engine']}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", type=int, default=50_000)
    parser.add_argument("--shards", type=int, default=200_000)
    parser.add_argument("--child", type=int)
    args = parser.parse_args()
    if args.child:
        measure_in_memory(args.child)
        return
    failed = []
    if args.memory:
        command = [sys.executable, __file__, "--child", str(args.memory)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        elapsed, passes, gb_above = map(float, out[:3])
        print(f"{args.memory} x {args.memory} x 2048 in memory, {os.cpu_count()} cores")
        print(
            f"  {out[3]}: {elapsed:.0f} s, {passes:.2f} passes, "
            f"{gb_above:.2f} GB above the features"
        )
        print(f"  precision {out[4]}, recall {out[5]}", flush=True)
        failed += ["memory"] if gb_above > MAX_GB_ABOVE_FEATURES else []
    if args.shards:
        with tempfile.TemporaryDirectory() as folder:
            elapsed, memory, numbers_text = measure_shards(folder, args.shards)
        print(f"{args.shards} x {args.shards} x 512 from shards, {os.cpu_count()} cores")
        print(f"  {elapsed:.0f} s, {memory:.2f} GB in all processes; {numbers_text}")
        failed += ["shards"] if memory > MAX_GB_OF_SHARDS else []
    if failed:
        sys.exit(
            f"promised: {MAX_GB_ABOVE_FEATURES} GB above features, {MAX_GB_OF_SHARDS} GB of shards"
        )


if __name__ == "__main__":
    main()
