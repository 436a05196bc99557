"""What the stream costs: its rate against a plain loop, and what it keeps as it grows.

    python benchmarks/pipeline.py [--samples 4096] [--rows 50000] [--most 300000]

1. A real network: the same generator (digits) and extractor (efficientnet-lite0), first in one
   plain loop that has all cores to itself, with as many threads and with one, then by the stream;
   all write the same shards. The stream's rate is given with the time that Ray and its actors take
   to start, and without (from the first shard to the last).
2. Networks that cost nothing (`synthetic.py`, 2048 features): what the stream adds to a row.
3. `--most` rows of the same: the rate, and the memory of all our processes, from 10,000 rows on.

It fails below the promises. 8 GB of disk for a million rows, in a folder that is removed again.
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
from process_monitor import Watch
from synthetic import DIMENSION

from raymetrics.distributed.cluster_resources import Resources
from raymetrics.distributed.extraction.dataset_request import named_apart, specification
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.extractors import make_extractor
from raymetrics.fixed_batches import in_blocks
from raymetrics.generators import open_source
from raymetrics.shards import layout, schema
from raymetrics.shards.shard_set import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit

LEAST_RATIO = 0.9  # of the plain loop's rate
LEAST_KEPT = 0.85  # of the rate at the beginning of a long run, in any later part of it
MOST_GROWTH_GB, MOST_DRIVER_GB = 0.5, 1.0
MARKS = (10_000, 30_000, 100_000, 300_000, 1_000_000)  # rows at which a long run is looked at


@dataclass(frozen=True)
class Work:
    """What is made, and in which parts."""

    source: str
    extractor: str
    shard_rows: int
    batch: int


REAL = Work("digits", "efficientnet-lite0", 512, 64)
COLUMN = "efficientnet_lite0_pre_logits"
LARGE_UNITS = Work("synthetic:images", "synthetic:Features", 2048, 512)
SMALL_UNITS = Work("synthetic:images", "synthetic:Features", 2048, 64)


def plain_loop(work: Work, to: str, samples: range, threads: int) -> float:
    """Rows a second of a loop that generates, extracts and writes, with so many threads."""
    device = torch.device("cpu")
    torch.set_num_threads(threads)
    generator = open_source(work.source, device)
    extractor = make_extractor(work.extractor, device)
    extractors = named_apart([work.extractor])
    asked = specification(work.source, generator, *extractors, samples, work.shard_rows)
    spec = layout.enter(Store(to), asked)
    start = time.monotonic()
    for shard in layout.missing(spec, [], [samples]):
        parts = []
        for first in range(shard.start, shard.stop, work.batch):
            ids = np.arange(first, min(first + work.batch, shard.stop))
            parts.append(in_blocks(extractor, ids, generator(ids), extractor.block))
        features = {
            c.name: np.concatenate([part[c.output] for part in parts]) for c in spec.columns
        }
        ids = np.array(shard)
        table = schema.to_table(spec.columns, ids, generator.labels(ids), features)
        commit(Store(to), table, spec.fingerprint)
    return len(samples) / (time.monotonic() - start)


def by_stream(work: Work, to: str, samples: range) -> tuple[float, float]:
    """Rows a second of the stream: of all of it, and from the first shard to the last."""
    told: list[Progress] = []
    start = time.monotonic()
    resources = Resources(batch=work.batch)
    extract(
        work.source, [work.extractor], to, samples,
        shard_rows=work.shard_rows, resources=resources, progress=told.append,
    )  # fmt: skip
    return len(samples) / (time.monotonic() - start), told[-1].rate


def with_a_network(folder: str, count: int) -> bool:
    """Whether the stream is as fast as is promised."""
    loop, stream, samples = f"{folder}/loop", f"{folder}/stream", range(count)
    cores = os.cpu_count() or 1
    plain = plain_loop(REAL, loop, samples, cores)
    single = plain_loop(REAL, f"{folder}/single", range(count // 4), 1)
    whole, steady = by_stream(REAL, stream, samples)
    apart = np.abs(open_shards(loop).read(COLUMN) - open_shards(stream).read(COLUMN))
    print(f"{count} samples, {REAL.source} through {REAL.extractor}, {cores} cores")
    print(f"  plain loop, {cores} threads        {plain:8.1f} rows/s   1")
    print(f"  plain loop, 1 thread         {single:8.1f} rows/s   {single / plain:.2f}")
    print(f"  the same on every core       {cores * single:8.1f} rows/s   (what can be had)")
    print(f"  stream, with its start       {whole:8.1f} rows/s   {whole / plain:.2f}")
    print(f"  stream, running              {steady:8.1f} rows/s   {steady / plain:.2f}")
    print(f"  largest difference           {apart.max():8.1e}  (the loop uses several threads)")
    return steady >= LEAST_RATIO * max(plain, single)


def watched(work: Work, to: str, rows: int, marks: Sequence[int]) -> Watch:
    """A run of the stream, looked at after its first shard and at these numbers of rows."""
    watch = Watch(marks)
    extract(
        work.source, [work.extractor], to, range(rows), shard_rows=work.shard_rows,
        resources=Resources(batch=work.batch), progress=lambda told: watch(told.rows),
    )  # fmt: skip
    return watch


def with_nothing_to_do(folder: str, rows: int) -> bool:
    """Prints what a row costs by a loop, and by the stream in units of two sizes."""
    print(f"{rows} rows of {DIMENSION} floats that cost nothing; microseconds a row")
    before, samples = time.process_time(), range(rows)
    rate = plain_loop(LARGE_UNITS, f"{folder}/loop", samples, 1)
    cpu = (time.process_time() - before) / rows
    print(f"  plain loop                   {1e6 / rate:8.0f} passed, {1e6 * cpu:.0f} of processors")
    for work in (LARGE_UNITS, SMALL_UNITS):
        (window,) = watched(work, f"{folder}/{work.batch}", rows, [rows]).windows
        taken = f"{1e6 / window.rate:8.0f} passed, {1e6 * window.cpu_a_row:.0f} of processors"
        print(f"  stream, units of {work.batch:4d}        {taken}")
    return True  # what is promised of rates is about real networks


def as_it_grows(folder: str, rows: int) -> bool:
    """Whether a long run is as fast at its end as at its beginning, and takes no more memory."""
    marks = [mark for mark in MARKS if mark < rows] + [rows]
    watch = watched(LARGE_UNITS, f"{folder}/many", rows, marks)
    windows = watch.windows[1:]  # the one before includes what was made before anybody was told
    print(f"{rows} rows of {DIMENSION} floats, units of {LARGE_UNITS.batch}")
    print("       rows    rows/s    of the beginning   GB, all processes   GB, driver")
    for window in windows:
        last, ratio = window.last, window.rate / windows[0].rate
        print(f"{last.rows:11d}{window.rate:10.0f}{ratio:20.2f}", end="")
        print(f"{last.memory:20.2f}{last.driver:13.2f}", flush=True)
    kept = min(window.rate for window in windows) / windows[0].rate
    growth = max(seen.memory for seen in watch.seen) - windows[0].first.memory
    driver = max(seen.driver for seen in watch.seen)
    print(f"  memory grew by {growth:.2f} GB from {windows[0].first.rows} rows on")
    return kept >= LEAST_KEPT and growth <= MOST_GROWTH_GB and driver <= MOST_DRIVER_GB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--most", type=int, default=300_000)
    asked = parser.parse_args()
    if 0 < asked.most <= MARKS[0]:
        parser.error(f"--most takes more than {MARKS[0]} rows, or 0")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where workers find `synthetic`
    kept = []
    for part, size in (
        (with_a_network, asked.samples),
        (with_nothing_to_do, asked.rows),
        (as_it_grows, asked.most),
    ):
        if size:
            with tempfile.TemporaryDirectory() as folder:
                kept.append(part(folder, size))
    if not all(kept):
        sys.exit(
            f"promised: {LEAST_RATIO} of the loop running; however many rows, {LEAST_KEPT} of "
            f"the first rate, memory within {MOST_GROWTH_GB} GB, a driver of {MOST_DRIVER_GB} GB"
        )


if __name__ == "__main__":
    main()
