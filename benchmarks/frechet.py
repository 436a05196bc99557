"""Time the Frechet distance: moments against a matrix product, the root against sqrtm.

    python benchmarks/frechet.py [--rows 16384]

One process, one thread, CPU seconds; 2048 dimensions. Fails if a promise is broken.
"""

from __future__ import annotations

import os

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))

import argparse  # noqa: E402
import sys  # noqa: E402
from functools import reduce  # noqa: E402

import numpy as np  # noqa: E402
from scipy.linalg import sqrtm  # noqa: E402
from timing import time_call  # noqa: E402

from raymetrics.metrics import frechet_distance  # noqa: E402
from raymetrics.statistics import Moments  # noqa: E402

DIMENSION, BLOCK_ROWS = 2048, 2048
MIN_GEMM_SHARE, MIN_SPEEDUP, MAX_ERROR = 0.6, 5.0, 1e-8


def moments_by_blocks(features: np.ndarray) -> Moments:
    """Compute moments block by block and merge them, as for shards."""
    blocks = (features[i : i + BLOCK_ROWS] for i in range(0, len(features), BLOCK_ROWS))
    return reduce(lambda a, b: a.merge(b), map(Moments.from_samples, blocks))


def frechet_by_sqrtm(real: Moments, generated: Moments) -> float:
    """Compute the textbook's formula with scipy.linalg.sqrtm."""
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

    block = real[:BLOCK_ROWS].astype(np.float64)
    reversed_block = block[::-1].copy()  # another matrix: x.T @ x costs half of a product
    out = np.empty((DIMENSION, DIMENSION))
    product = min(
        time_call(lambda: np.matmul(block.T, reversed_block, out=out))[0] for _ in range(3)
    )
    product_seconds = product * rows / BLOCK_ROWS
    moments_seconds, real_moments = time_call(lambda: moments_by_blocks(real))
    generated_moments = moments_by_blocks(generated)
    our_seconds, value = time_call(
        lambda: frechet_distance(real=real_moments, generated=generated_moments)
    )
    sqrtm_seconds, expected = time_call(lambda: frechet_by_sqrtm(real_moments, generated_moments))
    error = abs(value - expected) / expected

    print(f"{rows} x {DIMENSION} float32, one thread, CPU seconds")
    print(f"  matrix product, float64        {product_seconds:8.2f} s")
    print(
        f"  moments                        {moments_seconds:8.2f} s   "
        f"{product_seconds / moments_seconds:.2f} of its rate"
    )
    print(f"  Frechet distance               {our_seconds:8.2f} s")
    print(
        f"  by scipy.linalg.sqrtm          {sqrtm_seconds:8.2f} s   "
        f"{sqrtm_seconds / our_seconds:.1f} times as long"
    )
    print(f"  relative difference            {error:8.1e}")
    promises_kept = (
        product_seconds / moments_seconds >= MIN_GEMM_SHARE
        and sqrtm_seconds / our_seconds >= MIN_SPEEDUP
        and error < MAX_ERROR
    )
    if not promises_kept:
        sys.exit(f"promised: {MIN_GEMM_SHARE} of the rate, {MIN_SPEEDUP} times, below {MAX_ERROR}")


if __name__ == "__main__":
    main()
