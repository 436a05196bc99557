"""The Frechet distance at other numbers of samples, and its deviation.

The distance is biased: with few samples it is too large (Chong & Forsyth 2020), by an amount that
depends on the generator. Distances over nested subsets (`raymetrics.statistics.NestedMoments`)
show the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.frechet import frechet_distance
from raymetrics.statistics import Moments


class FrechetInfinity(NamedTuple):
    """The distance for infinitely many generated samples, and the fitted line."""

    value: float
    slope: float  # distance = value + slope / count
    counts: np.ndarray  # int64 [points]
    distances: np.ndarray  # float64 [points]


class FrechetByCount(NamedTuple):
    """The mean and standard deviation over seeds, for each number of samples.

    The variance is divided by the number of seeds less 1, so one seed has no deviation.
    """

    counts: np.ndarray  # int64 [points], of generated samples
    mean: np.ndarray  # float64 [points]
    std: np.ndarray  # float64 [points]; NaN for one seed


def frechet_infinity(
    *, real: Moments, generated: Sequence[Moments], ddof: int = 1
) -> FrechetInfinity:
    """Fit a straight line to (1 / count, distance) by least squares, and return its value at 0.

    The bias is proportional to 1 / count in first order (Chong & Forsyth 2020). generated: the
    moments of subsets of different sizes. The bias of the generated samples is removed, the bias of
    the real samples stays. NotEnoughData for fewer than two sizes.
    """
    counts = np.array([moments.count for moments in generated], np.int64)
    if len(np.unique(counts)) < 2:
        raise NotEnoughData(
            f"a line through distances at {len(np.unique(counts))} sizes of subsets; "
            "it takes at least 2, see subset_sizes"
        )
    distances = np.array([frechet_distance(real=real, generated=g, ddof=ddof) for g in generated])
    slope, value = np.polyfit(1 / counts, distances, 1)
    return FrechetInfinity(float(value), float(slope), counts, distances)


def frechet_by_count(
    *,
    real: Sequence[Sequence[Moments]],
    generated: Sequence[Sequence[Moments]],
    ddof: int = 1,
) -> FrechetByCount:
    """Compute the distance at each number of samples, over random draws of both sides.

    Kynkaanniemi et al. 2023, Fig. 8a. real, generated: for every seed the moments of its subsets,
    with the same sizes for all seeds; for a side that is not drawn, repeat its moments.
    NotEnoughData for no seeds; ValueError if the sides differ in the number of seeds or subsets, or
    the seeds in their sizes.
    """
    if not generated:
        raise NotEnoughData("the distance over 0 seeds; it takes at least 1")
    counts = np.array([[moments.count for moments in seed] for seed in generated], np.int64)
    if (counts != counts[0]).any():
        raise ValueError(f"subsets of {counts.tolist()} samples: not the same for all seeds")
    distances = np.array(
        [
            [frechet_distance(real=r, generated=g, ddof=ddof) for r, g in zip(*seed, strict=True)]
            for seed in zip(real, generated, strict=True)
        ]
    )
    one = len(distances) == 1
    std = np.full(len(counts[0]), np.nan) if one else distances.std(axis=0, ddof=1)
    return FrechetByCount(counts[0], distances.mean(axis=0), std)


def subset_sizes(count: int, points: int = 15, smallest: int = 5000) -> list[int]:
    """Return sizes of subsets at equal steps from `smallest` to `count`, as in Chong & Forsyth.

    NotEnoughData if there are fewer different sizes than points.
    """
    if count < smallest + points - 1:
        raise NotEnoughData(
            f"{points} sizes of subsets from {smallest} to the {count} samples there are; "
            f"it takes at least {smallest + points - 1}: extract more, or start at fewer"
        )
    return [int(size) for size in np.linspace(smallest, count, points)]
