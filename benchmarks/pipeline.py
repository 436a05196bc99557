"""What the stream costs: its rate against a plain loop, and the memory of its driver.

    python benchmarks/pipeline.py [--samples 4096] [--rows 100000]

The same generator (digits) and extractor (efficientnet-lite0), first in one plain loop that has
all cores to itself, with as many threads and with one, then by the stream; all write the same
shards. The stream's rate is given with the time that Ray and its actors take to start, and
without (from the first shard to the last). It fails below the promises. Then `--rows` samples go
through the stream with the small extractor, and the driver's peak memory is read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from raymetrics.blocks import in_blocks
from raymetrics.extractors import make_extractor
from raymetrics.generators import open_source
from raymetrics.shards import layout, schema
from raymetrics.shards.reader import open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import commit
from raymetrics.streaming.extract import Progress, describe, extract

LEAST_RATIO, MOST_DRIVER_GB = 0.85, 1.0
SOURCE, EXTRACTOR, SHARD_ROWS, BATCH = "digits", "efficientnet-lite0", 512, 64


def plain_loop(to: str, samples: range, threads: int) -> float:
    """Rows a second of a loop that generates, extracts and writes, with so many threads."""
    device = torch.device("cpu")
    torch.set_num_threads(threads)
    generator, extractor = open_source(SOURCE, device), make_extractor(EXTRACTOR, device)
    asked = describe(SOURCE, generator, [EXTRACTOR], samples, SHARD_ROWS)
    spec = layout.enter(Store(to), asked)
    start = time.monotonic()
    for shard in layout.missing(spec, [], [samples]):
        parts = []
        for first in range(shard.start, shard.stop, BATCH):
            ids = np.arange(first, min(first + BATCH, shard.stop))
            parts.append(in_blocks(extractor, ids, generator(ids), extractor.block))
        features = {
            c.name: np.concatenate([part[c.output] for part in parts]) for c in spec.columns
        }
        ids = np.array(shard)
        table = schema.to_table(spec.columns, ids, generator.labels(ids), features)
        commit(Store(to), table, spec.fingerprint)
    return len(samples) / (time.monotonic() - start)


def by_stream(to: str, samples: range) -> tuple[float, float]:
    """Rows a second of the stream: of all of it, and from the first shard to the last."""
    told: list[Progress] = []
    start = time.monotonic()
    extract(SOURCE, [EXTRACTOR], to, samples, shard_rows=SHARD_ROWS, progress=told.append)
    whole = len(samples) / (time.monotonic() - start)
    return whole, told[-1].rate


def driver_memory(to: str, rows: int) -> tuple[float, float]:
    """Peak memory in GB of a driver that extracts so many rows, and its rows a second."""
    code = (
        "import re, sys; from raymetrics.streaming.extract import extract; "
        "done = extract('digits', ['digits'], sys.argv[1], range(int(sys.argv[2]))); "
        # Not ru_maxrss: a new process inherits its parent's.
        "peak = re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]; "
        "print(peak, done.rows / done.seconds)"
    )
    command = [sys.executable, "-c", code, to, str(rows)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(out[0]) * 1024 / 1e9, float(out[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        loop, stream = f"{folder}/loop", f"{folder}/stream"
        samples = range(asked.samples)
        cores = os.cpu_count() or 1
        plain = plain_loop(loop, samples, cores)
        single = plain_loop(f"{folder}/single", range(asked.samples // 4), 1)
        whole, steady = by_stream(stream, samples)
        apart = np.abs(
            open_shards(loop).read(f"{EXTRACTOR.replace('-', '_')}_pre_logits")
            - open_shards(stream).read(f"{EXTRACTOR.replace('-', '_')}_pre_logits")
        ).max()
        print(f"{asked.samples} samples, {SOURCE} through {EXTRACTOR}, {cores} cores")
        print(f"  plain loop, {cores} threads        {plain:8.1f} rows/s   1")
        print(f"  plain loop, 1 thread         {single:8.1f} rows/s   {single / plain:.2f}")
        print(f"  the same on every core       {cores * single:8.1f} rows/s   (what can be had)")
        print(f"  stream, with its start       {whole:8.1f} rows/s   {whole / plain:.2f}")
        print(f"  stream, running              {steady:8.1f} rows/s   {steady / plain:.2f}")
        print(f"  largest difference           {apart:8.1e}  (the loop uses several threads)")
        memory, rate = driver_memory(f"{folder}/many", asked.rows)
        size = sum(file.stat().st_size for file in Path(folder, "many").iterdir()) / 1e9
        print(f"{asked.rows} samples through the digit classifier, {size:.2f} GB of shards")
        print(f"  driver's peak memory         {memory:8.2f} GB at {rate:.0f} rows/s")
    if steady < LEAST_RATIO * max(plain, single) or memory > MOST_DRIVER_GB:
        sys.exit(f"promised: {LEAST_RATIO} of the loop running, {MOST_DRIVER_GB} GB of driver")


if __name__ == "__main__":
    main()
