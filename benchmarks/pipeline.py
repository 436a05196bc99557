"""Measure the stream: its rate against a plain loop, and its memory as it grows.

    python benchmarks/pipeline.py [--samples 4096] [--rows 50000] [--most 300000]

1. A real network: the same generator (digits) and extractor (efficientnet-lite0), first in a plain
   loop that has all cores to itself, with as many threads and with one, then in the stream; all
   write the same shards. The stream's rate is given with the start of Ray and its actors, and
   without (from the first shard to the last).
2. Networks that cost nothing (`synthetic.py`, 2048 features): the cost that the stream adds, with
   shards of two sizes.
3. `--most` rows of the same: the rate, and the memory of all our processes, from 10,000 rows on.

Fails if a promise is broken. Takes 8 GB of disk for a million rows, in a folder that is removed
afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from process_monitor import UsageWatch
from synthetic import DIMENSION

from raymetrics.distributed.extraction.dataset_request import load_extractors, make_spec
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.resources import Resources
from raymetrics.extractors import make_extractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators import open_source
from raymetrics.shards import layout, schema
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit_shard

MIN_RATIO, MIN_RATIO_WITH_START = 0.95, 0.8  # of the rate of one core, times the cores
MAX_MICROSECONDS = 30  # that a row of the stream takes longer than one of the loop
MIN_KEPT_RATE = 0.85  # of the rate at the beginning of a long run, in any later part of it
MAX_GROWTH_GB, MAX_DRIVER_GB = 0.5, 1.0
ROW_MARKS = (10_000, 30_000, 100_000, 300_000, 1_000_000)  # rows of a long run to measure at


@dataclass(frozen=True)
class Workload:
    """A source and an extractor, with the sizes of shards and batches."""

    source: str
    extractor: str
    shard_rows: int
    batch: int


REAL_NETWORK = Workload("digits", "efficientnet-lite0", 512, 64)
COLUMN = "efficientnet_lite0_pre_logits"
LARGE_SHARDS = Workload("synthetic:images", "synthetic:Features", 2048, 64)
SMALL_SHARDS = Workload("synthetic:images", "synthetic:Features", 256, 64)


def run_plain_loop(work: Workload, to: str, samples: range, threads: int) -> float:
    """Generate, extract and write in a loop with so many threads; return rows per second."""
    device = torch.device("cpu")
    torch.set_num_threads(threads)
    generator = open_source(work.source, device)
    extractor = make_extractor(work.extractor, device)
    extractors = load_extractors([work.extractor])
    new_spec = make_spec(work.source, generator, *extractors, samples, work.shard_rows)
    spec = layout.create_or_extend_spec(Store(to), new_spec)
    start = time.monotonic()
    for shard in layout.missing_shards(spec, [], [samples]):
        parts = []
        for first in range(shard.start, shard.stop, work.batch):
            ids = np.arange(first, min(first + work.batch, shard.stop))
            parts.append(run_in_fixed_batches(extractor, ids, generator(ids), extractor.block))
        features = {
            c.name: np.concatenate([part[c.output] for part in parts]) for c in spec.columns
        }
        ids = np.array(shard)
        table = schema.to_table(spec.columns, ids, generator.labels(ids), features)
        commit_shard(Store(to), table, spec.fingerprint)
    return len(samples) / (time.monotonic() - start)


def run_stream(work: Workload, to: str, samples: range) -> tuple[float, float]:
    """Run the stream; return rows per second overall, and from the first shard to the last."""
    reports: list[Progress] = []
    start = time.monotonic()
    resources = Resources(batch=work.batch)
    extract(
        work.source,
        [work.extractor],
        to,
        samples,
        shard_rows=work.shard_rows,
        resources=resources,
        progress=reports.append,
    )
    return len(samples) / (time.monotonic() - start), reports[-1].rate


def measure_real_network(folder: str, count: int) -> bool:
    """Print the rates for a real network; return whether the stream is as fast as promised."""
    loop, stream, samples = f"{folder}/loop", f"{folder}/stream", range(count)
    cores = os.cpu_count() or 1
    plain = run_plain_loop(REAL_NETWORK, loop, samples, cores)
    single = run_plain_loop(REAL_NETWORK, f"{folder}/single", range(count // 4), 1)
    overall, steady = run_stream(REAL_NETWORK, stream, samples)
    difference = np.abs(open_shards(loop).read(COLUMN) - open_shards(stream).read(COLUMN))
    print(f"{count} samples, {REAL_NETWORK.source} through {REAL_NETWORK.extractor}, {cores} cores")
    print(f"  plain loop, {cores} threads        {plain:8.1f} rows/s   1")
    print(f"  plain loop, 1 thread         {single:8.1f} rows/s   {single / plain:.2f}")
    print(f"  the same on every core       {cores * single:8.1f} rows/s   (what can be had)")
    print(f"  stream, with its start       {overall:8.1f} rows/s   {overall / plain:.2f}")
    print(f"  stream, running              {steady:8.1f} rows/s   {steady / plain:.2f}")
    print(
        f"  largest difference           {difference.max():8.1e}  (the loop uses several threads)"
    )
    possible = max(plain, cores * single)
    return steady >= MIN_RATIO * possible and overall >= MIN_RATIO_WITH_START * possible


def run_watched(work: Workload, to: str, rows: int, marks: Sequence[int]) -> UsageWatch:
    """Run the stream and read its usage after the first shard and at these numbers of rows."""
    watch = UsageWatch(marks)
    extract(
        work.source,
        [work.extractor],
        to,
        range(rows),
        shard_rows=work.shard_rows,
        resources=Resources(batch=work.batch),
        progress=lambda progress: watch(progress.rows),
    )
    return watch


def measure_overhead(folder: str, rows: int) -> bool:
    """Print the cost of a row in a loop, and in the stream with shards of two sizes.

    Returns whether the larger ones cost no more than is promised.
    """
    print(f"{rows} rows of {DIMENSION} floats that cost nothing; microseconds a row")
    cpu_before, samples = time.process_time(), range(rows)
    rate = run_plain_loop(LARGE_SHARDS, f"{folder}/loop", samples, 1)
    cpu = (time.process_time() - cpu_before) / rows
    print(f"  plain loop                   {1e6 / rate:8.0f} passed, {1e6 * cpu:.0f} of processors")
    costs = []
    for work in (LARGE_SHARDS, SMALL_SHARDS):
        (window,) = run_watched(work, f"{folder}/{work.shard_rows}", rows, [rows]).windows
        costs.append(1e6 / window.rate - 1e6 / rate)
        cost_text = f"{1e6 / window.rate:8.0f} passed, {1e6 * window.cpu_a_row:.0f} of processors"
        print(f"  stream, shards of {work.shard_rows:4d}       {cost_text}")
    return costs[0] <= MAX_MICROSECONDS


def measure_growth(folder: str, rows: int) -> bool:
    """Print rate and memory of a long run; return whether it neither slows down nor grows."""
    marks = [mark for mark in ROW_MARKS if mark < rows] + [rows]
    watch = run_watched(LARGE_SHARDS, f"{folder}/many", rows, marks)
    windows = watch.windows[1:]  # the first window includes rows made before the first report
    print(f"{rows} rows of {DIMENSION} floats, shards of {LARGE_SHARDS.shard_rows}")
    print("       rows    rows/s    of the beginning   GB, all processes   GB, driver")
    for window in windows:
        last, ratio = window.last, window.rate / windows[0].rate
        print(f"{last.rows:11d}{window.rate:10.0f}{ratio:20.2f}", end="")
        print(f"{last.memory:20.2f}{last.driver:13.2f}", flush=True)
    kept_rate = min(window.rate for window in windows) / windows[0].rate
    growth = max(reading.memory for reading in watch.readings) - windows[0].first.memory
    driver = max(reading.driver for reading in watch.readings)
    print(f"  memory grew by {growth:.2f} GB from {windows[0].first.rows} rows on")
    return kept_rate >= MIN_KEPT_RATE and growth <= MAX_GROWTH_GB and driver <= MAX_DRIVER_GB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--most", type=int, default=300_000)
    args = parser.parse_args()
    if 0 < args.most <= ROW_MARKS[0]:
        parser.error(f"--most takes more than {ROW_MARKS[0]} rows, or 0")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find `synthetic`
    promises_kept = []
    for measure, size in (
        (measure_real_network, args.samples),
        (measure_overhead, args.rows),
        (measure_growth, args.most),
    ):
        if size:
            with tempfile.TemporaryDirectory() as folder:
                promises_kept.append(measure(folder, size))
    if not all(promises_kept):
        sys.exit(
            f"promised: {MIN_RATIO} of every core's rate running, {MIN_RATIO_WITH_START} with the "
            f"start; {MAX_MICROSECONDS} us a row; however many rows, {MIN_KEPT_RATE} of "
            f"the first rate, memory within {MAX_GROWTH_GB} GB, a driver of {MAX_DRIVER_GB} GB"
        )


if __name__ == "__main__":
    main()
