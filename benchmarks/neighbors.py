"""Time precision and recall: our engines, prdc, torch-fidelity and plain FAISS.

    python benchmarks/neighbors.py [--samples 10000,20000] [--unchecked]
    python benchmarks/neighbors.py --real URI --generated URI --column NAME

One process, one thread, CPU seconds, on synthetic features: the ReLU of a low-rank Gaussian
mixture, similar to pooled activations, and isotropic features, in which no direction is worth more
than another; or on shards. All times are in passes: 2 N^2 D operations at the rate at which numpy
multiplies matrices in the same run. Wrong flags are counted against float64. Fails if a promise at
the end is broken.
"""

from __future__ import annotations

import os

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))

import argparse  # noqa: E402
import contextlib  # noqa: E402
import io  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from prdc import compute_prdc  # noqa: E402
from timing import time_call  # noqa: E402
from torch_fidelity.metric_prc import prc_features_to_metric  # noqa: E402

from raymetrics.metrics.manifold_survey import survey_manifolds  # noqa: E402
from raymetrics.neighbors import FlatSearch, LowerBoundSearch, TileSearch, fastest_engine  # noqa: E402
from raymetrics.neighbors.faiss_indexes import load_faiss  # noqa: E402
from raymetrics.shards.shard_set import open_shards  # noqa: E402

K, DIMENSION = 3, 2048
MAX_PASSES, MIN_SPEEDUP, MAX_PLAIN_RATIO = 1.5, 4.0, 1.1


class Flags(NamedTuple):
    """Whether each sample lies in the manifold of the other side."""

    generated: np.ndarray
    real: np.ndarray


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


def make_cases(sizes: list[int], args: argparse.Namespace) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name and the features of both sides for each case."""
    if args.real:
        sides = [open_shards(uri).read(args.column) for uri in (args.real, args.generated)]
        yield args.column, *sides
        return
    rng = np.random.default_rng(1)
    for size in sizes:
        yield "mixture", relu_mixture(size, rng, 0.6), relu_mixture(size, rng, 0.5)
    isotropic = rng.normal(size=(2, sizes[0], DIMENSION)).astype(np.float32)
    yield "isotropic", *isotropic


def flags_by_engine(engine: Any) -> Callable[[np.ndarray, np.ndarray], Flags]:
    """Return a function that computes both flags by one of our engines."""

    def run(real: np.ndarray, generated: np.ndarray) -> Flags:
        manifolds = survey_manifolds(
            real=real, generated=generated, ks=[K], search=engine, count=False
        )
        return Flags(
            manifolds.generated_in_real.hits[:, 0] > 0, manifolds.real_in_generated.hits[:, 0] > 0
        )

    return run


def flags_by_default_engine(real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute both flags by the engine that `fastest_engine` chooses, including the choice."""
    return flags_by_engine(fastest_engine(real=real, generated=generated))(real, generated)


def flags_with_all_metrics(real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute precision, recall, density, coverage and realism for three k."""
    engine = fastest_engine(real=real, generated=generated)
    manifolds = survey_manifolds(
        real=real, generated=generated, ks=[3, 5, 10], search=engine, count=True, realism=True
    )
    return Flags(
        manifolds.generated_in_real.hits[:, 0] > 0, manifolds.real_in_generated.hits[:, 0] > 0
    )


def flags_by_plain_faiss(real: np.ndarray, generated: np.ndarray) -> Flags:
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


def run_prdc(real: np.ndarray, generated: np.ndarray) -> None:
    """Run prdc, which returns no flags."""
    with contextlib.redirect_stdout(io.StringIO()):
        compute_prdc(real, generated, nearest_k=K)


def run_torch_fidelity(real: np.ndarray, generated: np.ndarray) -> None:
    """Run torch-fidelity, which returns no flags."""
    prc_features_to_metric(
        torch.from_numpy(generated),
        torch.from_numpy(real),
        prc_neighborhood=K,
        prc_batch_size=10_000,
        save_cpu_ram=True,
        verbose=False,
    )


def exact_flags(real: np.ndarray, generated: np.ndarray) -> Flags:
    """Compute both flags from float64 products of centered features, in blocks of rows."""
    center = np.concatenate([real, generated]).mean(axis=0, dtype=np.float64)
    x, y = real - center, generated - center

    def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
        b_norms = np.square(b).sum(axis=1)
        for i in range(0, len(a), 500):
            rows = a[i : i + 500]
            yield np.square(rows).sum(axis=1)[:, None] + b_norms - 2 * rows @ b.T

    def radii(a: np.ndarray) -> np.ndarray:
        return np.concatenate([np.partition(d, K, axis=1)[:, K] for d in squared_distances(a, a)])

    radii_x, radii_y = radii(x), radii(y)
    in_real = np.concatenate([(d <= radii_x).any(axis=1) for d in squared_distances(y, x)])
    return Flags(
        in_real, np.concatenate([(d <= radii_y).any(axis=1) for d in squared_distances(x, y)])
    )


def pass_seconds(real: np.ndarray) -> float:
    """Return the CPU seconds of a pass at the rate of sgemm: the operations of all distances."""
    block = real[:2048]
    out = np.empty((len(block), len(block)), np.float32)
    rates = [time_call(lambda: np.matmul(block, block.T.copy(), out=out))[0] for _ in range(5)]
    return min(rates) * (len(real) / len(block)) ** 2


def measure(
    name: str, real: np.ndarray, generated: np.ndarray, check_flags: bool
) -> dict[str, float]:
    """Print a row for each program; return passes by program."""
    one_pass = pass_seconds(real)
    print(f"{name}: {len(real)} x {len(generated)} x {real.shape[1]}; a pass is {one_pass:.1f} s")
    print(f"  {'':44}{'passes':>8}{'s':>8}{'wrong flags':>13}")
    engine = fastest_engine(real=real, generated=generated)
    programs: dict[str, Callable[..., Any]] = {
        f"raymetrics, default ({engine.name})": flags_by_default_engine,
        f"raymetrics, {FlatSearch.name}": flags_by_engine(FlatSearch()),
        "raymetrics, faiss-lower-bound-128": flags_by_engine(LowerBoundSearch(128)),
        f"raymetrics, {TileSearch.name}": flags_by_engine(TileSearch()),
        "raymetrics, P R density coverage realism, 3 k": flags_with_all_metrics,
        "plain FAISS": flags_by_plain_faiss,
        "prdc": run_prdc,
        "torch-fidelity": run_torch_fidelity,
    }
    if name == "isotropic":  # here lower bounds certify nothing, and are never chosen
        del programs["raymetrics, faiss-lower-bound-128"]
    expected = exact_flags(real, generated) if check_flags else None
    passes = {}
    for program, run in programs.items():
        elapsed, flags = time_call(run, real, generated)
        passes[program.partition(" (")[0]] = elapsed / one_pass
        wrong = "" if flags is None or expected is None else str(count_differences(flags, expected))
        print(f"  {program:44}{elapsed / one_pass:8.2f}{elapsed:8.1f}{wrong:>13}", flush=True)
    return passes


def count_differences(flags: Flags, expected: Flags) -> int:
    """Count the samples whose flag differs."""
    return int((flags.real != expected.real).sum() + (flags.generated != expected.generated).sum())


def broken_promises(name: str, passes: dict[str, float]) -> list[str]:
    """Return the promises that these figures break."""
    default_passes = passes["raymetrics, default"]
    if name == "isotropic":
        promises = {
            f"{MAX_PLAIN_RATIO} x plain FAISS": default_passes
            <= MAX_PLAIN_RATIO * passes["plain FAISS"]
        }
    elif name != "mixture":
        promises = {}  # no promise covers a user's features
    else:
        peers = min(passes["prdc"], passes["torch-fidelity"])
        promises = {
            f"{MAX_PASSES} passes": default_passes <= MAX_PASSES,
            f"{MIN_SPEEDUP} x faster than peers": peers >= MIN_SPEEDUP * default_passes,
        }
    return [f"{name}: {promise}" for promise, is_kept in promises.items() if not is_kept]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", default="10000,20000")
    parser.add_argument("--real")
    parser.add_argument("--generated")
    parser.add_argument("--column")
    parser.add_argument("--unchecked", action="store_true", help="do not count wrong flags")
    args = parser.parse_args()
    torch.set_num_threads(1)
    failed = []
    for name, real, generated in make_cases([int(n) for n in args.samples.split(",")], args):
        failed += broken_promises(name, measure(name, real, generated, not args.unchecked))
    if failed:
        sys.exit("promised: " + "; ".join(failed))


if __name__ == "__main__":
    main()
