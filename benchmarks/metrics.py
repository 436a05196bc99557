"""Time every metric of the registry, with its memory, beside other programs.

    python benchmarks/metrics.py [--samples 50000] [--compared 10000] [--only kid,mind]

Every number is computed in a process of its own, wall clock, all cores. Ours are computed from
shard sets of so many samples on each side, 2,048 features and 1,000 logits, by `evaluate` without
Ray; other programs from arrays in memory, so that reading shards is a cost of ours alone. The
memory is the most that the process ever held. The features are a mixture, as in neighbors.py.
Fails if a metric is slower than the other program at the smaller count, or if their numbers are
further apart than the rounding of the other program.
"""

from __future__ import annotations

import argparse
import functools
import json
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from other_programs import OTHER_PROGRAMS

DIMENSION, RANK = 2048, 256
DIMENSIONS = {"logits": 1000, "clip": 768, "score": 1, "cosine": 1}  # of other kinds of columns
WITHOUT_WEIGHTS = ("aesthetic",)  # that take a file of weights, which is not made here
SIDES = ("real", "generated")
NO_FIGURE = "-"


@dataclass(frozen=True)
class Measurement:
    """The numbers of a metric, with the seconds and the most memory of the process in GB."""

    values: Sequence[float]
    seconds: float
    memory: float


def make_features(count: int, dimension: int, seed: int) -> np.ndarray:
    """Make the ReLU of a mixture of Gaussians in a subspace, float32 [count, dimension]."""
    shape, rng = np.random.default_rng(0), np.random.default_rng(seed)
    scale = np.arange(1, RANK + 1) ** -0.62
    directions = (shape.normal(size=(RANK, dimension)) / 16).astype(np.float32)
    centers = shape.normal(size=(200, RANK)) * scale
    latents = centers[rng.integers(0, 200, count)]
    latents = latents + (0.5 + seed / 10) * scale * rng.normal(size=latents.shape)
    noise = rng.standard_normal((count, dimension), np.float32)
    return np.maximum(latents.astype(np.float32) @ directions + 0.015 * noise, 0)


def set_folder(folder: Path, kind: str, side: str) -> Path:
    """Return the place of a set whose column is of a kind: "features", "logits", "clip"."""
    return folder / kind / side


def write_sets(folder: Path, kinds: Iterable[str], count: int) -> None:
    """Write both sides of every kind of column that metrics take."""
    from raymetrics.output_names import COSINE, NOT_FEATURES
    from raymetrics.shards.schema import make_columns
    from raymetrics.shards.write_features import write_features

    for seed, side in enumerate(SIDES):
        for kind in kinds:
            dimension = DIMENSIONS.get(kind, DIMENSION)
            features = make_features(count, dimension, seed)
            if kind == COSINE:
                features /= np.abs(features).max()
            extractor, output = ("made", kind) if kind in NOT_FEATURES else (kind, "features")
            columns = make_columns(extractor, {output: dimension})
            place = set_folder(folder, kind, side)
            spec = {"name": extractor, "network": extractor, "resize": "none"}
            spec["precision"] = "float32"
            write_features(str(place), columns, spec, {columns[0].name: features})
            np.save(place.with_suffix(".npy"), features)


def measure(compute: Callable[[], Sequence[float]]) -> Measurement:
    """Compute numbers; return them with the wall clock and the memory of this process."""
    start = time.perf_counter()
    values = compute()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return Measurement(list(values), seconds, memory)


def measure_ours(metric: str, kind: str, folder: Path, count: int) -> Measurement:
    """Compute a metric from shards."""
    import raymetrics as rm
    from raymetrics.metrics.registry import find_metric

    found = find_metric(metric)  # imports are not timed
    places = [set_folder(folder, kind, side) for side in SIDES]
    for place in places:  # what an earlier metric has found
        shutil.rmtree(place / "neighbours", ignore_errors=True)
    real, generated = map(str, places)

    def compute() -> list[float]:
        results = rm.evaluate(
            real=real, generated=generated, metrics=metric, samples=count, local=True,
            validation=f"{real}?random={count // 2}" if found.takes_validation else None,
        )  # fmt: skip
        return [result.value for result in results]

    return measure(compute)


def measure_other(metric: str, kind: str, folder: Path, count: int) -> Measurement:
    """Compute a metric by another program, from arrays."""
    sides = {
        side: np.load(set_folder(folder, kind, side).with_suffix(".npy"))[:count] for side in SIDES
    }
    run = functools.partial(OTHER_PROGRAMS[metric].prepare(), **sides)
    return measure(run)


MEASURES = {"ours": measure_ours, "other": measure_other}


def measure_in_process(
    whose: str, metric: str, kind: str, folder: Path, count: int
) -> Measurement | None:
    """Measure in a process of its own; None, with what it said, if it fails."""
    command = [sys.executable, __file__, "--one", whose, metric, kind, str(folder), str(count)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{whose} {metric}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Row:
    """The measurements of a metric."""

    metric: str
    large: Measurement | None
    small: Measurement | None
    other: Measurement | None

    @property
    def ratio(self) -> float | None:
        """How many times as long the other program takes."""
        return self.other.seconds / self.small.seconds if self.other and self.small else None

    @property
    def difference(self) -> float | None:
        """The largest relative difference of the other program's numbers from ours."""
        if self.other is None or self.small is None:
            return None
        pairs = zip(self.small.values, self.other.values, strict=False)
        return max(abs(a - b) / max(abs(a), 1e-12) for a, b in pairs)

    def as_markdown(self) -> str:
        """Return the row of the table."""
        program = OTHER_PROGRAMS[self.metric].name if self.metric in OTHER_PROGRAMS else NO_FIGURE
        cells = [
            f"`{self.metric}`",
            *_time_and_memory(self.large),
            *_time_and_memory(self.small),
            program,
            *_time_and_memory(self.other),
            NO_FIGURE if self.ratio is None else f"{self.ratio:.1f}",
            NO_FIGURE if self.difference is None else f"{self.difference:.0e}",
        ]
        return f"| {' | '.join(cells)} |"


def _time_and_memory(measurement: Measurement | None) -> tuple[str, str]:
    if measurement is None:
        return NO_FIGURE, NO_FIGURE
    return f"{measurement.seconds:.1f}", f"{measurement.memory:.1f}"


def measure_rows(
    metrics: Iterable[tuple[str, str]], folder: Path, samples: int, compared: int
) -> Iterator[Row]:
    """Measure every metric, given with its kind of column."""
    for metric, kind in metrics:
        large = measure_in_process("ours", metric, kind, folder, samples)
        small = other = None
        if compared:
            is_same = compared == samples
            small = large if is_same else measure_in_process("ours", metric, kind, folder, compared)
            if metric in OTHER_PROGRAMS:
                other = measure_in_process("other", metric, kind, folder, compared)
        yield Row(metric, large, small, other)


def broken_promises(rows: Iterable[Row], *, speed: bool) -> Iterator[str]:
    """Yield a sentence for every promise that a row breaks."""
    for row in rows:
        if row.large is None:
            yield f"{row.metric} fails"
        if row.ratio is None or row.difference is None:
            continue
        program = OTHER_PROGRAMS[row.metric]
        least = 4 if program.holds_all_pairs else 1
        if speed and row.ratio < least:
            yield f"{row.metric} is {row.ratio:.1f} times as fast, promised are {least}"
        if row.difference > program.rounding:
            yield f"{row.metric} differs by {row.difference:.0e}, more than {program.rounding:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--compared", type=int, default=10_000, help="0: beside no program")
    parser.add_argument("--only", default="", help="names with commas between them")
    parser.add_argument("--busy", action="store_true", help="break no promise of speed")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        whose, metric, kind, folder, count = given.one
        print(json.dumps(vars(MEASURES[whose](metric, kind, Path(folder), int(count)))))
        return
    from raymetrics.metrics.registry import METRICS

    offered = [name for name in METRICS if name not in WITHOUT_WEIGHTS]
    wanted = given.only.split(",") if given.only else offered
    metrics = [(name, METRICS[name].column_kind) for name in wanted]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_sets(folder, dict.fromkeys(kind for _, kind in metrics), given.samples)
        print(f"{platform.processor() or platform.machine()}, {given.samples} samples a side")
        heads = ["metric", "s", "GB", f"s at {given.compared}", "GB", "other program", "s", "GB"]
        print(f"| {' | '.join([*heads, 'times', 'apart'])} |")
        print("|---|--:|--:|--:|--:|---|--:|--:|--:|--:|")
        rows = []
        for row in measure_rows(metrics, folder, given.samples, given.compared):
            print(row.as_markdown(), flush=True)
            rows.append(row)
    if problems := list(broken_promises(rows, speed=not given.busy)):
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
