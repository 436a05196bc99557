"""Time precision and recall: our engines, prdc, torch-fidelity and plain FAISS.

    python benchmarks/neighbors.py [--samples 10000,20000] [--families mixture,hard] [--unchecked]
    python benchmarks/neighbors.py --real URI --generated URI --column NAME

Wall clock, all cores, one process, on synthetic features of six families, or on shards. A pass is
2 N^2 D operations, those of all distances between two sides, at the rate of the faster of numpy's
and torch's products of float32 matrices in the same run. Wrong flags are counted against float64,
also in a family of hard cases that are not timed. Fails if a promise at the end is broken; beside
another busy program, --busy, only wrong flags break one.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import math
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from prdc import compute_prdc
from torch_fidelity.metric_prc import prc_features_to_metric

from raymetrics.metrics.manifold_survey import survey_manifolds
from raymetrics.neighbors import DEFAULT_ENGINE, ENGINES, make_engine
from raymetrics.neighbors.faiss_indexes import load_faiss
from raymetrics.shards.shard_set import open_shards

K, DIMENSION, HARD_SAMPLES = 3, 2048, 2000
PRODUCT_ROWS, PRODUCT_REPEATS, WARM_UP_ROWS = 4096, 5, 500
PAIRS_AT_ONCE = 256
MAX_RATIO_TO_BEST, MIN_SPEEDUP_PRDC, MIN_SPEEDUP_TORCH_FIDELITY = 1.3, 5.0, 3.0
MAX_PASSES, MAX_MIXTURE_PASSES = 2.6, 1.1
DEFAULT, ALL_METRICS = "default", "all metrics"
PLAIN_FAISS, PRDC, TORCH_FIDELITY = "plain FAISS", "prdc", "torch-fidelity"
NO_FIGURE = "-"
LABEL_WIDTH = 54

Sides = tuple[np.ndarray, np.ndarray]


class Flags(NamedTuple):
    """Whether each sample lies in the manifold of the other side."""

    generated: np.ndarray
    real: np.ndarray
    engine: str = ""


# --- Features ---


def relu_mixture(count: int, rng: np.random.Generator, spread: float, seed: int = 0) -> np.ndarray:
    """Make the ReLU of 200 Gaussians in a subspace of 256 dimensions; half of the numbers are 0.

    The variances follow a power law.
    """
    shape = np.random.default_rng(seed)
    scale = np.arange(1, 257) ** -0.62
    directions = shape.normal(size=(256, DIMENSION)) / 16
    centers = shape.normal(size=(200, 256)) * scale
    latents = centers[rng.integers(0, 200, count)] + spread * scale * rng.normal(size=(count, 256))
    noise = 0.015 * rng.normal(size=(count, DIMENSION))
    return np.maximum(latents @ directions + noise, 0).astype(np.float32)


def mixture_sides(count: int, rng: np.random.Generator) -> Sides:
    """Make both sides by `relu_mixture`, similar to pooled activations."""
    return relu_mixture(count, rng, 0.6), relu_mixture(count, rng, 0.5)


def separated_sides(count: int, rng: np.random.Generator) -> Sides:
    """Make the ReLU of 50 Gaussians with flat noise of full rank; those of one side are shifted.

    The means of the sides are as far apart as samples are from the mean of their side.
    """
    shape = np.random.default_rng(0)
    centers = shape.normal(size=(50, DIMENSION)).astype(np.float32)
    shift = 1.5 * shape.normal(size=DIMENSION).astype(np.float32)

    def side(side_centers: np.ndarray) -> np.ndarray:
        samples = normal_rows(rng, count, DIMENSION)
        samples += side_centers[rng.integers(0, 50, count)]
        return np.maximum(samples, 0, out=samples)

    return side(centers), side(centers + shift)


def slow_spectrum_sides(count: int, rng: np.random.Generator) -> Sides:
    """Make Gaussians of 600 directions whose standard deviations fall slowly, and a little noise.

    The generated side is narrower and slightly shifted.
    """
    scale = np.arange(1, 601) ** -0.25
    directions = np.random.default_rng(0).normal(size=(600, DIMENSION)) / DIMENSION**0.5
    scaled_directions = (scale[:, None] * directions).astype(np.float32)

    def side(spread: float, shift: float) -> np.ndarray:
        latents = np.float32(spread) * normal_rows(rng, count, 600) + np.float32(shift)
        noise = np.float32(0.002) * normal_rows(rng, count, DIMENSION)
        return latents @ scaled_directions + noise

    return side(1.0, 0.0), side(0.9, 0.05)


def unit_vector_sides(count: int, rng: np.random.Generator) -> Sides:
    """Make Gaussian mixtures of 512 dimensions with length 1, as embeddings of faces or CLIP."""
    shape = np.random.default_rng(0)
    scale = (np.arange(1, 513) ** -0.3).astype(np.float32)
    centers = shape.normal(size=(100, 512)) + 0.5 * shape.normal(size=512)
    scaled_centers = scale * centers.astype(np.float32)

    def side(spread: float) -> np.ndarray:
        samples = np.float32(spread) * scale * normal_rows(rng, count, 512)
        samples += scaled_centers[rng.integers(0, 100, count)]
        samples /= np.linalg.norm(samples, axis=1, keepdims=True)
        return samples

    return side(1.0), side(0.9)


def sparse_sides(count: int, rng: np.random.Generator) -> Sides:
    """Make 4096 numbers of which 90 % are 0, as VGG's: a ReLU of low rank, noise and threshold."""
    dimension, rank = 4096, 300
    scale = np.arange(1, rank + 1) ** -0.5
    directions = np.random.default_rng(0).normal(size=(rank, dimension))
    scaled_directions = (scale[:, None] / np.linalg.norm(scale) * directions).astype(np.float32)

    def side(spread: float) -> np.ndarray:
        samples = np.float32(0.5) * normal_rows(rng, count, dimension)
        samples += np.float32(spread) * normal_rows(rng, count, rank) @ scaled_directions
        samples -= np.float32(1.4)
        return np.maximum(samples, 0, out=samples)

    return side(1.0), side(0.95)


def isotropic_sides(count: int, rng: np.random.Generator) -> Sides:
    """Make normal features of 768 dimensions, in which no direction is worth more than another."""
    return normal_rows(rng, count, 768), np.float32(0.97) * normal_rows(rng, count, 768)


def normal_rows(rng: np.random.Generator, count: int, dimension: int) -> np.ndarray:
    """Draw standard normal features, float32 [n, d]."""
    return rng.standard_normal((count, dimension), dtype=np.float32)


FAMILIES: Mapping[str, Callable[[int, np.random.Generator], Sides]] = {
    "mixture": mixture_sides,
    "separated": separated_sides,
    "slow spectrum": slow_spectrum_sides,
    "unit vectors": unit_vector_sides,
    "sparse": sparse_sides,
    "isotropic": isotropic_sides,
}
HARD = "hard"


def hard_cases(count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the name and both sides of cases in which rounding or ties could change a flag."""
    real, generated = mixture_sides(count, np.random.default_rng(1))
    third = -(-count // 3)
    copies = np.concatenate([generated[: third // 2], real[: third - third // 2]])
    offset = np.float32(1e6)
    yield "duplicates", np.tile(real[:third], (3, 1)), np.tile(copies, (3, 1))
    yield "joint offset", real + offset, generated + offset
    yield "offset sides", real, generated + offset
    few_real, few_generated = (side[: min(count, 500)].copy() for side in (real, generated))
    few_real[::10] += offset
    few_generated[::10] += offset
    yield "offset tenth", few_real, few_generated  # 500: float64 decides nearly all pairs
    rounded = [side.astype(np.float16).astype(np.float32) for side in (real, generated)]
    yield "float16", rounded[0], rounded[1]


def timed_cases(args: argparse.Namespace) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield the name and the features of both sides for each case that is timed."""
    if args.real:
        real, generated = (open_shards(u).read(args.column) for u in (args.real, args.generated))
        yield args.column, real, generated
        return
    for family in args.families:
        for count in args.samples if family != HARD else []:
            yield family, *FAMILIES[family](count, np.random.default_rng(1))


# --- Programs ---


def flags_by(engine: Any, *, real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute both flags by an engine of ours."""
    manifolds = survey_manifolds(real=real, generated=generated, ks=[K], search=engine, count=False)
    return flags_of(manifolds)


def flags_of(manifolds: Any) -> Flags:
    """Return both flags for the smallest k of a survey."""
    return Flags(
        manifolds.generated_in_real.hits[:, 0] > 0,
        manifolds.real_in_generated.hits[:, 0] > 0,
        manifolds.engine,
    )


def flags_by_name(name: str, *, real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute both flags by the engine with this name."""
    return flags_by(make_engine(name), real=real, generated=generated)


def flags_by_default_engine(*, real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute both flags by the engine that users get."""
    return flags_by(make_engine(), real=real, generated=generated)


def flags_with_all_metrics(*, real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute precision, recall, density, coverage and realism for three k."""
    manifolds = survey_manifolds(
        real=real,
        generated=generated,
        ks=[3, 5, 10],
        search=make_engine(),
        count=True,
        realism=True,
    )
    return flags_of(manifolds)


def flags_by_plain_faiss(*, real: np.ndarray, generated: np.ndarray) -> Flags:
    """Search twice for k + 1 neighbors and twice by power distance, without a certificate."""
    faiss = load_faiss()

    def radii(x: np.ndarray) -> np.ndarray:
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return index.search(x, K + 1)[0][:, K]

    def is_covered(q: np.ndarray, c: np.ndarray, squared_radii: np.ndarray) -> np.ndarray:
        norms = np.einsum("nd,nd->n", c, c)
        index = faiss.IndexFlatIP(c.shape[1] + 1)
        index.add(np.column_stack([c, (squared_radii - norms) / 2]))
        best = index.search(np.column_stack([q, np.ones(len(q), np.float32)]), 1)[0][:, 0]
        return 2 * best >= np.einsum("nd,nd->n", q, q)

    return Flags(
        is_covered(generated, real, radii(real)), is_covered(real, generated, radii(generated))
    )


def run_prdc(*, real: np.ndarray, generated: np.ndarray) -> None:
    """Run prdc, which returns no flags."""
    with contextlib.redirect_stdout(io.StringIO()):
        compute_prdc(real, generated, nearest_k=K)


def run_torch_fidelity(*, real: np.ndarray, generated: np.ndarray) -> None:
    """Run torch-fidelity, which returns no flags."""
    prc_features_to_metric(
        torch.from_numpy(generated),
        torch.from_numpy(real),
        prc_neighborhood=K,
        prc_batch_size=10_000,
        save_cpu_ram=True,
        verbose=False,
    )


def engine_names() -> list[str]:
    """List the engines that are compared with the default."""
    return [name for name in ENGINES if name != DEFAULT_ENGINE]


def our_programs() -> dict[str, Callable[..., Any]]:
    """Return our own programs by name; each takes `real` and `generated`."""
    return {
        DEFAULT: flags_by_default_engine,
        **{name: functools.partial(flags_by_name, name) for name in engine_names()},
        ALL_METRICS: flags_with_all_metrics,
    }


PEERS: Mapping[str, Callable[..., Any]] = {
    PLAIN_FAISS: flags_by_plain_faiss,
    PRDC: run_prdc,
    TORCH_FIDELITY: run_torch_fidelity,
}


def program_label(program: str, engine: str = "") -> str:
    """Return the name of a program for the tables, with the engine that it chose."""
    if program in PEERS:
        return program
    what = f"{ALL_METRICS}, 3 k" if program == ALL_METRICS else program
    return f"raymetrics, {what}" + (f" ({engine})" if engine and engine != program else "")


# --- Float64 brute force ---


def exact_flags(*, real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute both flags in float64, in blocks of rows.

    Products of centered features decide, or differences where rounding or a tie could matter.
    """
    real_radii, generated_radii = exact_radii(real), exact_radii(generated)
    in_generated, in_real = np.zeros(len(real), bool), np.zeros(len(generated), bool)
    for rows, squared, slack in squared_distances(real, generated):
        pairs = functools.partial(pair_distances, real[rows], generated)
        in_real |= is_inside(squared, real_radii[rows, None], slack, pairs).any(axis=0)
        in_generated[rows] = is_inside(squared, generated_radii, slack, pairs).any(axis=1)
    return Flags(in_real, in_generated)


def exact_radii(features: np.ndarray) -> np.ndarray:
    """Compute the distance of each row to its k-th nearest neighbor, float64 [n]."""
    radii = np.empty(len(features))
    for rows, squared, slack in squared_distances(features, features):
        limits = np.partition(squared, K, axis=1)[:, K] + 2 * slack  # the row itself is the first
        i, j = np.nonzero(squared <= limits[:, None])
        distances = pair_distances(features[rows], features, i, j)
        first = np.searchsorted(i, np.arange(len(squared)))
        radii[rows] = distances[np.lexsort((distances, i))][first + K]
    return radii


def is_inside(
    squared: np.ndarray, radii: np.ndarray, slack: float, pairs: Callable[..., np.ndarray]
) -> np.ndarray:
    """Tell which pairs are at most a radius apart, bool [n, m].

    squared: their squared distances, up to `slack`. pairs: computes the distances of some pairs.
    """
    gaps = squared - np.square(radii)
    inside: np.ndarray = gaps <= 0
    i, j = np.nonzero(np.abs(gaps, out=gaps) <= slack)
    inside[i, j] = pairs(i, j) <= np.broadcast_to(radii, squared.shape)[i, j]
    return inside


def squared_distances(
    left: np.ndarray, right: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, float]]:
    """Yield blocks of rows, their squared distances by products, and a bound on their error."""
    center = (left.mean(axis=0, dtype=np.float64) + right.mean(axis=0, dtype=np.float64)) / 2
    x, y = left - center, right - center
    x_norms, y_norms = (np.einsum("nd,nd->n", z, z) for z in (x, y))
    slack = 2 * left.shape[1] * np.finfo(np.float64).eps * (x_norms.max() + y_norms.max())
    for start in range(0, len(x), 500):
        rows = slice(start, start + 500)
        yield rows, x_norms[rows, None] + y_norms - 2 * x[rows] @ y.T, float(slack)


def pair_distances(left: np.ndarray, right: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Compute |left[i] - right[j]| by differences, float64 [pairs]; equal to the bit for copies."""
    squared = np.empty(len(i))
    for start in range(0, len(i), PAIRS_AT_ONCE):
        block = slice(start, start + PAIRS_AT_ONCE)
        differences = left[i[block]].astype(np.float64) - right[j[block]]
        squared[block] = np.square(differences).sum(axis=1)
    return np.sqrt(squared)


def count_differences(flags: Flags, expected: Flags) -> int:
    """Count the samples whose flag differs."""
    return int((flags.real != expected.real).sum() + (flags.generated != expected.generated).sum())


# --- Measurements ---


@dataclass
class Case:
    """The figures of a case, by program; NaN stands for a program that was skipped."""

    name: str
    rows: int
    dimension: int
    one_pass: float = math.nan
    seconds: dict[str, float] = field(default_factory=dict)
    wrong_flags: dict[str, int] = field(default_factory=dict)

    def ratio(self, program: str, other: str) -> float:
        """Return the seconds of a program by those of another."""
        return self.seconds.get(program, math.nan) / self.seconds.get(other, math.nan)

    @property
    def default_passes(self) -> float:
        """The passes of the default."""
        return self.seconds.get(DEFAULT, math.nan) / self.one_pass

    @property
    def best_engine(self) -> str:
        """The fastest engine of ours beside the default."""
        tried = [name for name in engine_names() if name in self.seconds]
        return min(tried, key=self.seconds.__getitem__, default=NO_FIGURE)

    @property
    def ratio_to_best(self) -> float:
        """The seconds of the default by those of the fastest engine."""
        return self.ratio(DEFAULT, self.best_engine)

    @property
    def worst_wrong_flags(self) -> float:
        """The wrong flags of that program of ours that has the most."""
        return max((n for p, n in self.wrong_flags.items() if p not in PEERS), default=math.nan)

    def __str__(self) -> str:
        return f"{self.name}, {self.rows} x {self.dimension}"


def best_time(run: Callable[..., Any], repeat: int, **sides: np.ndarray) -> tuple[float, Any]:
    """Return the least seconds, by wall clock, of some calls, and the value of the last."""
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        value = run(**sides)
        seconds.append(time.perf_counter() - start)
    return min(seconds), value


def product_rate(features: np.ndarray) -> tuple[str, float]:
    """Return which library multiplies float32 matrices faster, and its operations a second."""
    left = np.resize(features, (PRODUCT_ROWS, features.shape[1])).astype(np.float32, copy=False)
    right = left[::-1].copy()  # another matrix: x @ x.T costs half of a product
    out = np.empty((PRODUCT_ROWS, PRODUCT_ROWS), np.float32)
    tensors = torch.from_numpy(left), torch.from_numpy(right).T
    products: dict[str, Callable[[], Any]] = {
        "numpy": lambda: np.matmul(left, right.T, out=out),
        "torch": lambda: torch.mm(*tensors, out=torch.from_numpy(out)),
    }
    seconds = {name: best_time(run, PRODUCT_REPEATS)[0] for name, run in products.items()}
    library = min(seconds, key=seconds.__getitem__)
    return library, 2 * PRODUCT_ROWS**2 * features.shape[1] / seconds[library]


def measure(name: str, real: np.ndarray, generated: np.ndarray, args: argparse.Namespace) -> Case:
    """Time every program on a case, and print a row for each."""
    library, rate = product_rate(real)
    case = Case(name, len(real), real.shape[1])
    case.one_pass = 2 * len(real) * len(generated) * case.dimension / rate
    print(
        f"{name}: {len(real)} x {len(generated)} x {case.dimension}; a pass is "
        f"{case.one_pass:.2f} s at {rate / 1e9:.0f} GFLOP/s ({library})"
    )
    expected = None if args.unchecked else exact_flags(real=real, generated=generated)
    if expected:
        print(f"  precision {expected.generated.mean():.3f}, recall {expected.real.mean():.3f}")
    print(f"  {'':{LABEL_WIDTH}}{'passes':>8}{'s':>9}{'wrong flags':>13}", flush=True)
    for program, run in {**our_programs(), **PEERS}.items():
        flags = None
        if program not in args.skip:
            run(real=real[:WARM_UP_ROWS], generated=generated[:WARM_UP_ROWS])
            elapsed, flags = best_time(run, args.repeat, real=real, generated=generated)
            case.seconds[program] = elapsed
            if flags and expected:
                case.wrong_flags[program] = count_differences(flags, expected)
        print_row(case, program, flags.engine if flags else "")
    return case


def print_row(case: Case, program: str, engine: str) -> None:
    """Print the figures of a program."""
    seconds = case.seconds.get(program, math.nan)
    label = program_label(program, engine)
    passes, elapsed = format_figure(seconds / case.one_pass), format_figure(seconds)
    wrong = case.wrong_flags.get(program, "")
    print(f"  {label:{LABEL_WIDTH}}{passes:>8}{elapsed:>9}{wrong:>13}", flush=True)


def check_hard_cases(args: argparse.Namespace) -> list[Case]:
    """Count the wrong flags of our programs in the hard cases, without timing them."""
    cases = []
    programs = {p: run for p, run in our_programs().items() if p not in args.skip}
    for name, real, generated in hard_cases(min(HARD_SAMPLES, max(args.samples))):
        case = Case(f"{HARD}: {name}", len(real), real.shape[1])
        expected = exact_flags(real=real, generated=generated)
        print(
            f"{case}; precision {expected.generated.mean():.3f}, "
            f"recall {expected.real.mean():.3f}\n  {'':{LABEL_WIDTH}}{'wrong flags':>30}"
        )
        for program, run in programs.items():
            flags = run(real=real, generated=generated)
            case.wrong_flags[program] = count_differences(flags, expected)
            label = program_label(program, flags.engine)
            print(f"  {label:{LABEL_WIDTH}}{case.wrong_flags[program]:>30}", flush=True)
        cases.append(case)
    return cases


def format_figure(value: float) -> str:
    """Return a figure with two decimals, or a dash if there is none."""
    return NO_FIGURE if math.isnan(value) else f"{value:.2f}"


# --- Promises ---


class Promise(NamedTuple):
    """A limit on a figure of all cases that the promise covers."""

    text: str
    limit: float
    figure: Callable[[Case], float]
    covers: Callable[[Case], bool] = lambda case: True
    is_minimum: bool = False

    def is_kept(self, value: float) -> bool:
        """Tell whether a figure is within the limit."""
        return value >= self.limit if self.is_minimum else value <= self.limit

    def figures(self, cases: list[Case]) -> list[tuple[float, Case]]:
        """Return the figures of the cases that the promise covers, the worst first."""
        figures = [(self.figure(case), case) for case in cases if self.covers(case)]
        known = [pair for pair in figures if not math.isnan(pair[0])]
        return sorted(known, key=lambda pair: pair[0], reverse=not self.is_minimum)


WRONG_FLAGS_PROMISE = Promise("no wrong flags", 0, lambda case: case.worst_wrong_flags)
SPEED_PROMISES = (
    Promise(
        f"default at most {MAX_RATIO_TO_BEST} x as long as the best of our engines",
        MAX_RATIO_TO_BEST,
        lambda case: case.ratio_to_best,
    ),
    Promise(
        f"default {MIN_SPEEDUP_PRDC} x faster than prdc",
        MIN_SPEEDUP_PRDC,
        lambda case: case.ratio(PRDC, DEFAULT),
        is_minimum=True,
    ),
    Promise(
        f"default {MIN_SPEEDUP_TORCH_FIDELITY} x faster than torch-fidelity, D >= 2048",
        MIN_SPEEDUP_TORCH_FIDELITY,
        lambda case: case.ratio(TORCH_FIDELITY, DEFAULT),
        lambda case: case.dimension >= 2048,
        is_minimum=True,
    ),
    Promise(
        "default never slower than prdc or torch-fidelity",
        1.0,
        lambda case: float(np.fmin(case.ratio(PRDC, DEFAULT), case.ratio(TORCH_FIDELITY, DEFAULT))),
        is_minimum=True,
    ),
    Promise(
        f"default at most {MAX_PASSES} passes from 10,000 x 2048 on",
        MAX_PASSES,
        lambda case: case.default_passes,
        lambda case: case.rows >= 10_000 and case.dimension >= 2048,
    ),
    Promise(
        f"default at most {MAX_MIXTURE_PASSES} passes, mixture from 20,000 on",
        MAX_MIXTURE_PASSES,
        lambda case: case.default_passes,
        lambda case: case.name == "mixture" and case.rows >= 20_000,
    ),
)


def broken_promises(cases: list[Case], promises: list[Promise]) -> list[str]:
    """Print the worst case of each promise; return the promises that a case breaks."""
    broken = []
    print(f"{'promise':66}{'worst':>8}  {'kept':6}case")
    for promise in promises:
        figures = promise.figures(cases)
        if not figures:
            print(f"{promise.text:66}{NO_FIGURE:>8}  {NO_FIGURE}")
            continue
        worst, case = figures[0]
        is_kept = "yes" if promise.is_kept(worst) else "NO"
        print(f"{promise.text:66}{format_figure(worst):>8}  {is_kept:6}{case}")
        broken += [
            f"{promise.text} ({case}: {value:.2f})"
            for value, case in figures
            if not promise.is_kept(value)
        ]
    return broken


def print_markdown(cases: list[Case]) -> None:
    """Print the cases as the rows of a Markdown table."""
    print(
        "| Family | N | D | Pass, s | Default, passes | Best engine | Default / best "
        "| prdc / default | torch-fidelity / default | Wrong flags |\n"
        "|---|--:|--:|--:|--:|---|--:|--:|--:|--:|"
    )
    for case in cases:
        wrong = case.worst_wrong_flags
        figures = (
            case.name,
            f"{case.rows:,}",
            f"{case.dimension:,}",
            format_figure(case.one_pass),
            format_figure(case.default_passes),
            case.best_engine,
            format_figure(case.ratio_to_best),
            format_figure(case.ratio(PRDC, DEFAULT)),
            format_figure(case.ratio(TORCH_FIDELITY, DEFAULT)),
            NO_FIGURE if math.isnan(wrong) else str(int(wrong)),
        )
        print(f"| {' | '.join(figures)} |")


# --- The program ---


def describe_machine() -> str:
    """Return the processor, its cores, and the versions of the libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    faiss = load_faiss()
    return (
        f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores; "
        f"torch {torch.__version__} ({torch.get_num_threads()} threads), numpy {np.__version__}, "
        f"faiss {faiss.__version__} ({faiss.omp_get_max_threads()} threads)"
    )


def spin() -> None:
    """Keep one core busy for as long as the parent lives."""
    parent = os.getppid()
    while os.getppid() == parent:
        sum(range(1_000_000))


@contextlib.contextmanager
def busy_neighbor(is_wanted: bool) -> Iterator[None]:
    """Run another process that keeps one core busy, if it is wanted."""
    if not is_wanted:
        yield
        return
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    process.start()
    print("beside another process that keeps one core busy")
    try:
        yield
    finally:
        process.terminate()
        process.join()


def parse_arguments() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name.strip() for name in text.split(",") if name.strip()]

    def counts(text: str) -> list[int]:
        return [int(count) for count in names(text)]

    families, programs = [*FAMILIES, HARD], [*our_programs(), *PEERS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=counts, default=[6000, 10_000, 20_000])
    parser.add_argument(
        "--families", type=names, default=families, help=f"some of: {', '.join(families)}"
    )
    parser.add_argument("--real")
    parser.add_argument("--generated")
    parser.add_argument("--column")
    parser.add_argument("--skip", type=names, default=[], help=f"some of: {', '.join(programs)}")
    parser.add_argument("--repeat", type=int, default=1, help="time the best of so many runs")
    parser.add_argument("--unchecked", action="store_true", help="do not count wrong flags")
    parser.add_argument("--busy", action="store_true", help="run beside a process that spins")
    parser.add_argument("--markdown", action="store_true", help="print a table for the docs too")
    args = parser.parse_args()
    for chosen, known in ((args.families, families), (args.skip, programs)):
        if unknown := [name for name in chosen if name not in known]:
            parser.error(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    if bool(args.real) != bool(args.generated) or bool(args.real) != bool(args.column):
        parser.error("--real, --generated and --column go together")
    return args


def main() -> None:
    args = parse_arguments()
    print(describe_machine())
    with busy_neighbor(args.busy):
        cases = [measure(*case, args) for case in timed_cases(args)]
        if HARD in args.families and not args.real and not args.unchecked:
            cases += check_hard_cases(args)
    speed_promises = () if args.busy else SPEED_PROMISES
    failed = broken_promises(cases, [*speed_promises, WRONG_FLAGS_PROMISE])
    if args.markdown:
        print_markdown(cases)
    if failed:
        sys.exit("promised: " + "; ".join(failed))


if __name__ == "__main__":
    main()
