"""What the Frechet distance would be with other numbers of samples, and how sure it is.

It is biased: with few samples it is too large (Chong & Forsyth 2020), and by how much depends on
the generator. Distances over nested subsets, see `raymetrics.statistics.NestedMoments`, say it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from raymetrics.errors import NotEnoughData
from raymetrics.metrics.frechet import frechet_distance
from raymetrics.statistics import Moments


class FrechetInfinity(NamedTuple):
    """The distance for infinitely many generated samples, and the line that leads to it."""

    value: float
    slope: float  # distance = value + slope / count
    counts: np.ndarray  # int64 [points]
    distances: np.ndarray  # float64 [points]


class FrechetByCount(NamedTuple):
    """Mean and standard deviation over seeds, for each number of samples."""

    counts: np.ndarray  # int64 [points], of generated samples
    mean: np.ndarray  # float64 [points]
    std: np.ndarray  # float64 [points]


def frechet_infinity(
    *, real: Moments, generated: Sequence[Moments], ddof: int = 1
) -> FrechetInfinity:
    """The straight line through (1 / count, distance), by least squares, where it meets 0.

    Chong & Forsyth 2020: the bias is in first order proportional to 1 / count.
    generated: of subsets of different sizes. Only their bias goes away, not that of the real
    samples. NotEnoughData for fewer than two sizes.
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
    """The distance at each number of samples, over random draws of both sides.

    Kynkaanniemi et al. 2023, Fig. 8a. real, generated: of every seed the moments of its subsets,
    with the same sizes for all seeds; for a side that is not drawn repeat its moments. The
    deviation is divided by the number of seeds. NotEnoughData for no seeds; ValueError if seeds
    or subsets are not as many on both sides, or the sizes of seeds differ.
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
    return FrechetByCount(counts[0], distances.mean(axis=0), distances.std(axis=0))


def subset_sizes(count: int, points: int = 15, smallest: int = 5000) -> list[int]:
    """Sizes of subsets at equal steps from `least` to `count`, as Chong & Forsyth take them.

    NotEnoughData if there are not so many different sizes.
    """
    if count < smallest + points - 1:
        raise NotEnoughData(
            f"{points} sizes of subsets from {smallest} to the {count} samples there are; "
            f"it takes at least {smallest + points - 1}: extract more, or start at fewer"
        )
    return [int(size) for size in np.linspace(smallest, count, points)]
