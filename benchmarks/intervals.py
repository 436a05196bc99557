"""Do 95 % intervals cover? A table by simulation.

    python benchmarks/intervals.py --repetitions 200 --samples 1000 --dimensions 32

Both sides are drawn again and again from two fixed Gaussians, whose variances fall as 1 / i. An
interval covers if it holds the mean of the number over all repetitions. Prints Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

import numpy as np

from raymetrics.in_memory.intervals import values_with_errors
from raymetrics.metrics import Convention
from raymetrics.metrics.registry import METRICS, find_metric
from raymetrics.metrics.sampling_errors import Interval, make_interval

CLASSES = 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--dimensions", type=int, default=32)
    parser.add_argument("--shift", type=float, default=0.2, help="in standard deviations")
    parser.add_argument("--scale", type=float, default=1.1, help="of the generated side")
    names = [name for name, metric in METRICS.items() if metric.interval]
    parser.add_argument("--metrics", default=",".join(names))
    options = parser.parse_args()
    print(f"{options.samples} samples a side, {options.dimensions} dimensions,")
    print(f"{options.repetitions} repetitions, shift {options.shift}, scale {options.scale}\n")
    print("| number | mean | deviation | mean standard error | covered | seconds each |")
    print("|---|---|---|---|---|---|")
    for name in options.metrics.split(","):
        for row in coverage_rows(name, options):
            print(row, flush=True)


def coverage_rows(name: str, options: argparse.Namespace) -> Iterator[str]:
    """Yield a row for every number of a metric."""
    start = time.perf_counter()
    found: dict[str, list[tuple[float, Interval | None]]] = {}
    for seed in range(options.repetitions):
        for number, value, interval in draw_numbers(name, options, seed):
            found.setdefault(number, []).append((value, interval))
    seconds = (time.perf_counter() - start) / options.repetitions
    for number, pairs in found.items():
        values = np.array([value for value, _ in pairs])
        covered = [i is not None and i.low <= values.mean() <= i.high for _, i in pairs]
        error = np.mean([i.standard_error for _, i in pairs if i is not None])
        yield (
            f"| `{name}` {number} | {values.mean():.4g} | {values.std(ddof=1):.2g} | {error:.2g} | "
            f"{100 * np.mean(covered):.1f} % | {seconds:.2g} |"
        )


def draw_numbers(
    name: str, options: argparse.Namespace, seed: int
) -> Iterator[tuple[str, float, Interval | None]]:
    """Yield the numbers of a metric with their intervals, of samples drawn by a seed."""
    metric = find_metric(name)
    real, generated = draw_sides(options, seed)
    if metric.logits_outputs:
        directions = np.random.default_rng(0).normal(size=(options.dimensions, CLASSES))
        real, generated = (side @ directions.astype(np.float32) for side in (real, generated))
    convention = Convention(kid_subset_size=min(1000, options.samples // 2), seed=seed)
    for value in values_with_errors(metric, {"real": real, "generated": generated}, convention):
        yield value.metric, value.value, make_interval(value.value, value.errors, value.bounds)


def draw_sides(options: argparse.Namespace, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw both sides, float32 [n, d]."""
    rng = np.random.default_rng(seed)
    deviations = np.arange(1, options.dimensions + 1) ** -0.5
    shape = (options.samples, options.dimensions)
    real, generated = rng.normal(size=shape), rng.normal(size=shape)
    generated = generated * options.scale + options.shift
    return (real * deviations).astype(np.float32), (generated * deviations).astype(np.float32)


if __name__ == "__main__":
    main()
