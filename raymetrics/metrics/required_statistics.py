"""What a metric needs to know of one side: a statistic of its samples.

Each is a function of a block, (sample_ids int64 [n], values float32 [n, d]) -> statistic, that
travels to the tasks which read the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.metrics import Convention, draws, normalised, splits_of, subset_sizes
from raymetrics.statistics import ClassScores, Histogram, Moments, NestedMoments, Rows

Of = Callable[[np.ndarray, np.ndarray], object]


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of both sides that a number is computed from."""

    real: np.ndarray  # int64 [n], ascending ids; of a drawn side some may stand there repeatedly
    generated: np.ndarray

    def of(self, side: str) -> np.ndarray:
        """The ids of "real" or "generated"."""
        ids: np.ndarray = getattr(self, side)
        return ids


def moments(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Of all samples."""
    return Moments.of(values)


def normalised_moments(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Of rows scaled to length 1."""
    return Moments.of(normalised(values))


def histogram(sample_ids: np.ndarray, values: np.ndarray) -> Histogram:
    """Of logits."""
    return Histogram.of(values)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The features of some samples."""

    ids: np.ndarray  # int64, ascending

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Rows:
        there, rows = np.unique(sample_ids, return_index=True)
        some = np.isin(there, self.ids, assume_unique=True)
        return Rows.of(there[some], values[rows[some]])


@dataclass(frozen=True, eq=False)
class Scores:
    """The class scores of every split."""

    ids: np.ndarray  # int64 [n], ascending
    splits: np.ndarray  # int64 [n], the split of each
    count: int

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> ClassScores:
        rows = np.searchsorted(self.ids, sample_ids)
        return ClassScores.of(self.splits[rows], values, self.count)


@dataclass(frozen=True, eq=False)
class Nested:
    """Moments of nested random subsets."""

    ids: np.ndarray  # int64 [n], ascending
    ranks: np.ndarray  # int64 [n], the place of each in a random order
    sizes: tuple[int, ...]

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> NestedMoments:
        rows = np.searchsorted(self.ids, sample_ids)
        return NestedMoments.of(self.ranks[rows], values, self.sizes)


def class_scores(samples: Samples, side: str, asked: Convention) -> Scores:
    """For the Inception Score."""
    ids = samples.of(side)
    return Scores(ids, splits_of(len(ids), asked.is_splits, asked.is_shuffle), asked.is_splits)


def nested(ids: np.ndarray, sizes: Sequence[int], seed: int) -> Nested:
    """Subsets of these sizes in one random order."""
    return Nested(ids, np.random.default_rng(seed).permutation(len(ids)), tuple(sizes))


def sizes_of(count: int) -> list[int]:
    """Of the subsets for FID-infinity: 15 from 5,000 on, or from a tenth of fewer than 50,000."""
    return subset_sizes(count, least=min(5000, count // 10))


def kid_draws(samples: Samples, asked: Convention) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of both sides that every subset of KID draws."""
    return draws(
        real=len(samples.real),
        generated=len(samples.generated),
        subsets=asked.kid_subsets,
        subset_size=asked.kid_subset_size,
        seed=asked.seed,
        order=asked.kid_order,
        generator=asked.kid_generator,
    )


def drawn(samples: Samples, side: str, asked: Convention) -> Chosen:
    """The samples of a side that KID draws at all."""
    which = 0 if side == "real" else 1
    rows = np.unique(np.concatenate([draw[which] for draw in kid_draws(samples, asked)]))
    return Chosen(np.unique(samples.of(side)[rows]))


def bytes_of(need: Of, dimension: int, rows: int) -> int:
    """What a statistic of so many rows takes in memory, about."""
    if isinstance(need, Nested):
        return 8 * dimension**2 * len(need.sizes)
    if isinstance(need, Chosen):
        return 4 * dimension * len(need.ids)
    if need == Rows.of:
        return 4 * dimension * rows
    if isinstance(need, Scores) or need is histogram:
        return 8 * dimension
    return 8 * dimension**2
