"""Compute what a cluster of many GPUs would saturate first: arithmetic, not a measurement.

    python benchmarks/scaling.py [--shard-rows 2048] [--dimension 2048]

The inputs are named below, each with its origin; docs/design/scaling.md explains the tables. A load
is the demand on a resource divided by its capacity: the resource saturates at 1.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

FLOAT_BYTES = 4
# Measured by benchmarks/pipeline.py and benchmarks/frechet.py on two older cores.
SHARDS_PER_SECOND = 50.0  # that Ray Data schedules: 10 to 16 ms of the driver's processor for each
COMMITTED_BYTES_PER_SECOND = 70e6  # that one thread digests, encodes, and writes to a disk
MOMENT_ROWS_PER_SECOND = 6300.0  # of 2048 floats, one core; a row costs d^2
MERGED_BYTES_PER_SECOND = 0.5e9  # of moments that the driver fetches and merges
CORE_OPERATIONS_PER_SECOND = 70e9  # of a matrix product in float32
# Measured on one machine, see docs/benchmarks.md: passes of 2 N^2 d for 10,000 x 10,000.
PASSES = 2.7
# The search on a GPU, its parts. Measured on the CPU, by the same lines, with 4,000 rows a side.
OPEN_PAIRS_PER_ROW = 25.0  # that reach the host; 3 to 5 of them are computed in float64
HOST_SECONDS_PER_PAIR = 0.2e-6
CONVERSION_SECONDS_PER_NUMBER = 4e-9  # to rounded rows, their norms and residuals
READ_BYTES_PER_SECOND = 1.5e9  # of shards, by four threads
# Published or measured by others on an H200.
GPU_OPERATIONS_PER_SECOND = 550e12  # of float16 products that are summed in float32
GPU_BYTES_PER_SECOND = 4.3e12
# Assumed.
BYTES_PER_TILE_PAIR = 35.0  # written and read on the device: a value, two floors, a mask
UPLOAD_BYTES_PER_SECOND = 8e9
HOST_THREADS = 4
PUTS_PER_SECOND, NAMES_PER_PAGE, SECONDS_PER_PAGE = 3500.0, 1000, 0.1  # S3's figures; a guess
SECONDS_PER_FOOTER, FOOTERS_AT_ONCE = 0.1, 16
GPUS_PER_NODE = 8
NODE_BANDWIDTH = 1.2e9  # bytes per second between two processes, through Ray
RATES = (300.0, 2500.0, 10_000.0)  # images per second of a GPU: StyleGAN2 in float32, Inception-V3
SECONDS_PER_SHARD = 5.0  # of a GPU's work: what a lost one costs, and enough to hide what it takes
# A constant of the program.
SHARDS_PER_GROUP = 4


@dataclass(frozen=True)
class Job:
    """An extraction. rate: images per second and GPU. side: of an image, in pixels."""

    gpus: int
    rate: float
    shard_rows: int
    dimension: int
    side: int = 256

    @property
    def rows_per_second(self) -> float:
        """Rows of all GPUs per second."""
        return self.gpus * self.rate

    @property
    def bytes_per_second(self) -> float:
        """Bytes of features of all GPUs per second."""
        return self.rows_per_second * self.dimension * FLOAT_BYTES

    def loads(self) -> dict[str, float]:
        """Compute the load of every resource: its demand divided by its capacity."""
        shards = self.rows_per_second / self.shard_rows
        images = min(self.gpus, GPUS_PER_NODE) * self.rate * 3 * self.side**2
        return {
            "driver": shards / SHARDS_PER_SECOND,
            "writing": self.bytes_per_second / self.gpus / COMMITTED_BYTES_PER_SECOND,
            "PUTs": shards / PUTS_PER_SECOND,
            "images moved": images / NODE_BANDWIDTH,
        }

    def with_long_shards(self) -> Job:
        """Enlarge shards until each is some seconds of a GPU's work."""
        job = self
        while job.shard_rows < SECONDS_PER_SHARD * job.rate:
            job = replace(job, shard_rows=2 * job.shard_rows)
        return job


def print_loads(job: Job) -> None:
    """Print the loads of clusters of several sizes, with GPUs of several rates."""
    print(f"{job.dimension} floats an image: loads (1 is saturated)")
    names = list(job.loads())
    print(" GPUs  images/s a GPU  shard rows   rows/s    MB/s" + "".join(f"{n:>14}" for n in names))
    for rate in RATES:
        for gpus in (8, 64, 512):
            sized_job = replace(job, gpus=gpus, rate=rate)
            for variant in dict.fromkeys((sized_job, sized_job.with_long_shards())):
                print(f"{gpus:5d}{rate:16.0f}{variant.shard_rows:12d}", end="")
                print(
                    f"{variant.rows_per_second:9.0f}{variant.bytes_per_second / 1e6:8.0f}", end=""
                )
                print("".join(f"{load:14.3f}" for load in variant.loads().values()))


def print_evaluation_costs(job: Job) -> None:
    """Print the costs of evaluating one set with many samples."""
    print("one set, by its samples          seconds: one LIST  footers  moments a core  merging")
    for rows in (50_000, 1_500_000, 100_000_000):
        for shard_rows in (job.shard_rows, 32 * job.shard_rows):
            shards = -(-rows // shard_rows)
            pages, groups = -(-shards // NAMES_PER_PAGE), -(-shards // SHARDS_PER_GROUP)
            merging = groups * job.dimension**2 * 8 / MERGED_BYTES_PER_SECOND
            cost = (job.dimension / 2048) ** 2
            print(f"{rows:12d} in {shards:6d} shards", end="")
            print(f"{pages * SECONDS_PER_PAGE:26.1f}", end="")
            print(f"{shards * SECONDS_PER_FOOTER / FOOTERS_AT_ONCE:9.0f}", end="")
            print(f"{rows * cost / MOMENT_ROWS_PER_SECOND:16.0f}{merging:9.0f}")


def gpu_search_seconds(rows: int, dimension: int) -> dict[str, float]:
    """Compute the seconds of each part of precision and recall on one H200."""
    numbers, pairs = 2 * rows * dimension, 2 * rows**2  # of both sides; of two passes
    return {
        "read": numbers * FLOAT_BYTES / READ_BYTES_PER_SECOND,
        "round": numbers * CONVERSION_SECONDS_PER_NUMBER / HOST_THREADS,
        "upload": numbers * (FLOAT_BYTES + 2) / UPLOAD_BYTES_PER_SECOND,
        "multiply": pairs * 2 * dimension / GPU_OPERATIONS_PER_SECOND,
        "compare": pairs * BYTES_PER_TILE_PAIR / GPU_BYTES_PER_SECOND,
        "host": 2 * rows * OPEN_PAIRS_PER_ROW * HOST_SECONDS_PER_PAIR / HOST_THREADS,
    }


def print_precision_recall(job: Job) -> None:
    """Print the costs of precision and recall."""
    print(f"precision and recall, N x N x {job.dimension}: hours of one core   64 cores")
    for rows in (50_000, 250_000, 1_500_000):
        hours = PASSES * 2 * rows**2 * job.dimension / CORE_OPERATIONS_PER_SECOND / 3600
        print(f"{rows:12d}{hours:43.2f}{hours / 64:11.3f}")
    print(
        "seconds of one H200:", "".join(f"{name:>10}" for name in gpu_search_seconds(1, 1)), end=""
    )
    print(f"{'in all':>10}")
    for rows in (50_000, 250_000, 1_000_000, 1_500_000):
        seconds = gpu_search_seconds(rows, job.dimension).values()
        print(f"{rows:12d}{'':8}", "".join(f"{s:10.2f}" for s in (*seconds, sum(seconds))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard-rows", type=int, default=2048)
    parser.add_argument("--dimension", type=int, default=2048)
    args = parser.parse_args()
    job = Job(8, RATES[0], args.shard_rows, args.dimension)
    for print_table in (print_loads, print_evaluation_costs, print_precision_recall):
        print_table(job)
        print()


if __name__ == "__main__":
    main()
