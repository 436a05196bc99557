"""The kernel distance (Binkowski et al. 2018); with Inception's pre-logits it is KID."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData


class KernelDistance(NamedTuple):
    """Mean and standard deviation over random subsets."""

    mean: float
    std: float


def kernel_distance(
    *,
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """The unbiased squared MMD with a cubic kernel, over random subsets of both sides.

    real, generated: real [n, d], [m, d]. Each subset draws `subset_size` samples of either side
    without replacement. May be below 0, being unbiased. NotEnoughData if a side has fewer.
    """
    for side, features in (("real", real), ("generated", generated)):
        if len(features) < subset_size:
            raise NotEnoughData(
                f"the kernel distance draws subsets of {subset_size}, but there are only "
                f"{len(features)} {side} samples; extract more, or ask for smaller subsets"
            )
    rng = np.random.default_rng(seed)
    distances = [
        squared_mmd(draw(real, subset_size, rng), draw(generated, subset_size, rng))
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(distances)), float(np.std(distances)))


def draw(features: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` different rows, as float64."""
    rows = rng.choice(len(features), size, replace=False)
    return features[rows].astype(np.float64)


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of MMD^2 (Gretton et al. 2012, Eq. 3); x, y: float64 [m, d]."""
    m = len(x)
    within = off_diagonal_sum(cubic_kernel(x, x)) + off_diagonal_sum(cubic_kernel(y, y))
    between = cubic_kernel(x, y).sum()
    return float(within / (m * (m - 1)) - 2 * between / m**2)


def cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x . y / d + 1)^3 (Binkowski et al. 2018, section 4)."""
    kernel: np.ndarray = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def off_diagonal_sum(kernel: np.ndarray) -> float:
    """The sum of all entries but the diagonal's."""
    return float(kernel.sum() - np.trace(kernel))
