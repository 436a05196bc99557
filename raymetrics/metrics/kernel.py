"""The kernel distance (Binkowski et al. 2018); with Inception's pre-logits it is KID."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData

SideOrder = Literal["real-first", "generated-first"]
RandomGenerator = Literal["pcg64", "mt19937"]


class KernelDistance(NamedTuple):
    """The mean and standard deviation over random subsets."""

    mean: float
    std: float


def kernel_distance(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    order: SideOrder = "real-first",
    generator: RandomGenerator = "pcg64",
) -> KernelDistance:
    """Compute the unbiased squared MMD with a cubic kernel, over random subsets of both sides.

    real, generated: real [n, d], [m, d]. Each subset draws `subset_size` samples of either side
    without replacement; `order` and `generator` are those of `draw_subsets`. The estimate is
    unbiased, so it may be below 0. NotEnoughData if a side has fewer than `subset_size` samples.
    """
    rows = draw_subsets(
        real=len(real),
        generated=len(generated),
        subsets=subsets,
        subset_size=subset_size,
        seed=seed,
        order=order,
        generator=generator,
    )
    return kernel_distance_over_subsets((real[r], generated[g]) for r, g in rows)


def kernel_distance_over_subsets(
    subsets: Iterable[tuple[np.ndarray, np.ndarray]],
) -> KernelDistance:
    """Compute the kernel distance over drawn subsets: pairs of real [size, d].

    The order of the sides makes no difference. The variance is divided by the number of
    subsets, as in torch-fidelity. NotEnoughData for no subsets.
    """
    distances = [squared_mmd(x.astype(np.float64), y.astype(np.float64)) for x, y in subsets]
    if not distances:
        raise NotEnoughData("the kernel distance over 0 subsets; ask for at least 1")
    return KernelDistance(float(np.mean(distances)), float(np.std(distances)))


def draw_subsets(
    *,
    real: int,
    generated: int,
    subsets: int,
    subset_size: int,
    seed: int,
    order: SideOrder = "real-first",
    generator: RandomGenerator = "pcg64",
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the row numbers (real, generated) of each subset, int64 [subset_size] each.

    real, generated: the numbers of samples. Every subset draws one side and then the other from one
    stream of random numbers. "mt19937" is the stream of np.random.RandomState(seed), or of
    np.random.seed(seed). With "mt19937" and "generated-first" the rows are those of clean-fid and
    of NVIDIA's programs, and of torch-fidelity with the generated side as its input 1, as its
    documentation asks; with the real side as input 1 they are those of "real-first". NotEnoughData
    if a side has fewer samples than subset_size.
    """
    for side, count in (("real", real), ("generated", generated)):
        if count < subset_size:
            raise NotEnoughData(
                f"the kernel distance draws subsets of {subset_size}, but there are only "
                f"{count} {side} samples; extract more, or ask for smaller subsets"
            )
    choice = _row_chooser(generator, seed)

    def draw(count: int) -> np.ndarray:
        return choice(count, subset_size, replace=False)

    if order == "real-first":
        return [(draw(real), draw(generated)) for _ in range(subsets)]
    pairs = [(draw(generated), draw(real)) for _ in range(subsets)]
    return [(real_rows, generated_rows) for generated_rows, real_rows in pairs]


def _row_chooser(generator: RandomGenerator, seed: int) -> Callable[..., np.ndarray]:
    """Return the method `choice` of a generator; the two draw different rows for one seed."""
    if generator == "pcg64":
        return np.random.default_rng(seed).choice
    return np.random.RandomState(seed).choice


def kernel_distance_parts(
    subsets: Sequence[tuple[np.ndarray, np.ndarray]],
    features: Callable[[np.ndarray, int], np.ndarray],
    counts: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each sample adds to the mean over subsets, to first order, float64 [n], [m].

    subsets: rows of both sides; features(rows, side): those of a side, real [size, d]; counts: n
    and m, the samples of both sides.
    A sample of a subset of m adds 2 / m times its mean kernel with the others of its side less that
    with the other side, less the mean of that over the subset.
    """
    parts = np.zeros(counts[0]), np.zeros(counts[1])
    for pair in subsets:
        x, y = (features(rows, side).astype(np.float64) for side, rows in enumerate(pair))
        between = _cubic_kernel(x, y)
        for side, (z, mean_between) in enumerate(((x, between.mean(1)), (y, between.mean(0)))):
            within = _cubic_kernel(z, z)
            apart = (within.sum(1) - np.diag(within)) / (len(z) - 1) - mean_between
            parts[side][pair[side]] += 2 * (apart - apart.mean()) / len(z) / len(subsets)
    return parts


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the unbiased MMD^2 (Gretton et al. 2012, Eq. 3); x, y: float64 [m, d]."""
    m = len(x)
    within = _off_diagonal_sum(_cubic_kernel(x, x)) + _off_diagonal_sum(_cubic_kernel(y, y))
    between = _cubic_kernel(x, y).sum()
    return float(within / (m * (m - 1)) - 2 * between / m**2)


def _cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute (x . y / d + 1)^3 for all pairs of rows (Binkowski et al. 2018, section 4)."""
    base = x @ y.T / x.shape[1] + 1
    kernel: np.ndarray = base * base * base  # ten times as fast as ** 3
    return kernel


def _off_diagonal_sum(kernel: np.ndarray) -> float:
    """Sum all entries outside of the diagonal."""
    return float(kernel.sum() - np.trace(kernel))
