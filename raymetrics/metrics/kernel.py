"""The kernel distance (Binkowski et al. 2018); with Inception's pre-logits it is KID."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.pair_tiles import map_tiles, map_upper_tiles
from raymetrics.metrics.threads import map_on_cores

SideOrder = Literal["real-first", "generated-first"]
RandomGenerator = Literal["pcg64", "mt19937"]
KIDEstimator = Literal["unbiased", "biased"]
SelectRows = Callable[[np.ndarray], np.ndarray]  # rows, int64, to features [rows, d]
Draw = tuple[np.ndarray, np.ndarray]  # rows of the real and of the generated side


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
    estimator: KIDEstimator = "unbiased",
) -> KernelDistance:
    """Compute the squared MMD with a cubic kernel, over random subsets of both sides.

    real, generated: real [n, d], [m, d]. Each subset draws `subset_size` samples of either side
    without replacement; `order` and `generator` are those of `draw_subsets`. The "unbiased"
    estimate may be below 0; the "biased" one, which several scripts of KDD have, may not.
    NotEnoughData if a side has fewer than `subset_size` samples.
    """
    draws = draw_subsets(
        real=len(real),
        generated=len(generated),
        subsets=subsets,
        subset_size=subset_size,
        seed=seed,
        order=order,
        generator=generator,
    )
    return kernel_distance_of_draws(real.__getitem__, generated.__getitem__, draws, estimator)


def kernel_distance_of_draws(
    select_real: SelectRows,
    select_generated: SelectRows,
    draws: Sequence[Draw],
    estimator: KIDEstimator = "unbiased",
) -> KernelDistance:
    """Compute the kernel distance over the rows that each subset draws.

    select_real, select_generated: return the features of rows, real [rows, d]. Multiplies every
    subset, or, where that is less work, all drawn rows once for all subsets. The variance is
    divided by the number of subsets, as in torch-fidelity. NotEnoughData for no subsets.
    """
    if not draws:
        raise NotEnoughData("the kernel distance over 0 subsets; ask for at least 1")
    real, generated = (np.unique(np.concatenate(rows)) for rows in zip(*draws, strict=True))
    if max(len(real), len(generated)) ** 2 < len(draws) * len(draws[0][0]) ** 2:
        distances = _distances_of_all(
            _as_float64(select_real(real)),
            _as_float64(select_generated(generated)),
            [(np.searchsorted(real, r), np.searchsorted(generated, g)) for r, g in draws],
            estimator,
        )
    else:
        distances = np.array(
            map_on_cores(
                lambda draw: squared_mmd(
                    _as_float64(select_real(draw[0])),
                    _as_float64(select_generated(draw[1])),
                    estimator,
                ),
                draws,
            )
        )
    return KernelDistance(float(np.mean(distances)), float(np.std(distances)))


def _as_float64(features: np.ndarray) -> np.ndarray:
    """Convert features to float64."""
    return features.astype(np.float64, copy=False)


def _distances_of_all(
    x: np.ndarray, y: np.ndarray, draws: Sequence[Draw], estimator: KIDEstimator
) -> np.ndarray:
    """Compute MMD^2 of every subset, from the kernels of all rows with all.

    A subset has the sum v^T K w, where v and w are 1 for its rows and otherwise 0.
    """
    size = len(draws[0][0])
    of_x, of_y = (
        _mark_rows(len(x), [r for r, _ in draws]),
        _mark_rows(len(y), [g for _, g in draws]),
    )
    within = _sums_within(x, of_x, estimator) + _sums_within(y, of_y, estimator)

    def add(rows: slice, columns: slice) -> np.ndarray:
        return _sums_of_subsets(_cubic_kernel(x[rows], y[columns]), of_x[rows], of_y[columns])

    between = np.sum(map_tiles(add, len(x), len(y)), axis=0)
    return within / _pairs_within(size, estimator) - 2 * between / size**2


def _sums_within(x: np.ndarray, marks: np.ndarray, estimator: KIDEstimator) -> np.ndarray:
    """Sum the kernels of the pairs of each subset, with or without those of equal rows."""

    def add(rows: slice, columns: slice) -> np.ndarray:
        kernel = _cubic_kernel(x[rows], x[columns])
        if rows != columns:
            return 2 * _sums_of_subsets(kernel, marks[rows], marks[columns])
        if estimator == "unbiased":
            np.fill_diagonal(kernel, 0)
        return _sums_of_subsets(kernel, marks[rows], marks[rows])

    total: np.ndarray = np.sum(map_upper_tiles(add, len(x)), axis=0)
    return total


def _sums_of_subsets(kernel: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sum the kernels of the marked pairs of each subset, float64 [subsets].

    kernel: [b, c]; rows, columns: marks [b, subsets], [c, subsets].
    """
    sums: np.ndarray = np.einsum("bs,bs->s", rows, kernel @ columns)
    return sums


def _mark_rows(count: int, rows_of_subsets: Sequence[np.ndarray]) -> np.ndarray:
    """Return 1 for the rows of a subset and otherwise 0, float64 [count, subsets]."""
    marks = np.zeros((count, len(rows_of_subsets)))
    for subset, rows in enumerate(rows_of_subsets):
        marks[rows, subset] = 1
    return marks


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
    select_real: SelectRows,
    select_generated: SelectRows,
    draws: Sequence[Draw],
    counts: tuple[int, int],
    estimator: KIDEstimator = "unbiased",
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each sample adds to the mean over subsets, to first order, float64 [n], [m].

    select_real, select_generated: as in `kernel_distance_of_draws`; counts: n and m, the samples of
    both sides. A sample of a subset of m adds 2 / m times its mean kernel with its side, without
    the sample if unbiased, less that with the other side, less the mean of that over the subset.
    """
    parts = np.zeros(counts[0]), np.zeros(counts[1])
    for pair in draws:
        x, y = _as_float64(select_real(pair[0])), _as_float64(select_generated(pair[1]))
        between = _cubic_kernel(x, y)
        for side, (z, mean_between) in enumerate(((x, between.mean(1)), (y, between.mean(0)))):
            apart = _mean_with_own_side(z, estimator) - mean_between
            parts[side][pair[side]] += 2 * (apart - apart.mean()) / len(z) / len(draws)
    return parts


def _mean_with_own_side(z: np.ndarray, estimator: KIDEstimator) -> np.ndarray:
    """Return the mean kernel of each row with all rows, or with the others, float64 [m]."""
    within = _cubic_kernel(z, z)
    if estimator == "biased":
        means: np.ndarray = within.mean(axis=1)
        return means
    others: np.ndarray = (within.sum(axis=1) - np.diag(within)) / (len(z) - 1)
    return others


def squared_mmd(x: np.ndarray, y: np.ndarray, estimator: KIDEstimator = "unbiased") -> float:
    """Compute MMD^2 (Gretton et al. 2012, Eq. 3; biased: Eq. 5); x, y: float64 [m, d]."""
    m = len(x)
    between = _cubic_kernel(x, y).sum()
    within = _kernel_sum(_cubic_kernel(x, x), estimator)
    within += _kernel_sum(_cubic_kernel(y, y), estimator)
    return float(within / _pairs_within(m, estimator) - 2 * between / m**2)


def _pairs_within(size: int, estimator: KIDEstimator) -> int:
    """Count the pairs of samples of one side that an estimator sums."""
    return size * (size - 1) if estimator == "unbiased" else size**2


def _cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute (x . y / d + 1)^3 for all pairs of rows (Binkowski et al. 2018, section 4)."""
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    kernel: np.ndarray = base * base
    kernel *= base  # ten times as fast as ** 3
    return kernel


def _kernel_sum(kernel: np.ndarray, estimator: KIDEstimator) -> float:
    """Sum all entries; of the unbiased estimator those outside of the diagonal."""
    total = kernel.sum()
    return float(total - np.trace(kernel) if estimator == "unbiased" else total)
