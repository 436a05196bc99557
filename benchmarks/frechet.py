"""What the Frechet distance costs: moments against a matrix product, the root against sqrtm.

    python benchmarks/frechet.py [--rows 16384]

One process, one thread, CPU seconds; 2048 dimensions. Fails below the promises.
"""

from __future__ import annotations

import os

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

import argparse  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import reduce  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from scipy.linalg import sqrtm  # noqa: E402

from raymetrics.metrics import frechet_distance  # noqa: E402
from raymetrics.statistics import Moments  # noqa: E402

DIMENSION, BLOCK = 2048, 2048
LEAST_OF_GEMM, LEAST_GAIN, MOST_ERROR = 0.6, 5.0, 1e-8


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what came out."""
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def moments(features: np.ndarray) -> Moments:
    """Block by block, merged, as over shards."""
    blocks = (features[i : i + BLOCK] for i in range(0, len(features), BLOCK))
    return reduce(lambda a, b: a.merge(b), map(Moments.of, blocks))


def by_sqrtm(real: Moments, generated: Moments) -> float:
    """The textbook's formula."""
    a, b = real.covariance(), generated.covariance()
    shift = real.mean - generated.mean
    return float(shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16_384)
    rows = parser.parse_args().rows
    rng = np.random.default_rng(0)
    scale = np.arange(1, DIMENSION + 1) ** -0.25
    real, generated = ((rng.normal(size=(rows, DIMENSION)) * scale + m) for m in (0.0, 0.05))
    real, generated = real.astype(np.float32), generated.astype(np.float32)

    some = real[:BLOCK].astype(np.float64)
    other = some[::-1].copy()  # not the same matrix: that would be half of a product
    out = np.empty((DIMENSION, DIMENSION))
    product = min(seconds(lambda: np.matmul(some.T, other, out=out))[0] for _ in range(3))
    bound = product * rows / BLOCK
    taken, of_real = seconds(lambda: moments(real))
    of_generated = moments(generated)
    ours, value = seconds(lambda: frechet_distance(real=of_real, generated=of_generated))
    theirs, expected = seconds(lambda: by_sqrtm(of_real, of_generated))
    error = abs(value - expected) / expected

    print(f"{rows} x {DIMENSION} float32, one thread, CPU seconds")
    print(f"  matrix product, float64        {bound:8.2f} s")
    print(f"  moments                        {taken:8.2f} s   {bound / taken:.2f} of its rate")
    print(f"  Frechet distance               {ours:8.2f} s")
    print(f"  by scipy.linalg.sqrtm          {theirs:8.2f} s   {theirs / ours:.1f} times as long")
    print(f"  relative difference            {error:8.1e}")
    kept = bound / taken >= LEAST_OF_GEMM and theirs / ours >= LEAST_GAIN and error < MOST_ERROR
    if not kept:
        sys.exit(f"promised: {LEAST_OF_GEMM} of the rate, {LEAST_GAIN} times, below {MOST_ERROR}")


if __name__ == "__main__":
    main()
