"""What a metric needs to know of one side: a statistic of its samples.

Each is a function of a block, (sample_ids int64 [n], values float32 [n, d]) -> statistic, that
travels to the tasks which read the shards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.metrics import Convention, assign_splits, draw_subsets, normalize_rows, subset_sizes
from raymetrics.statistics import ClassScores, FeatureRows, Histogram, Moments, NestedMoments

StatisticFunction = Callable[[np.ndarray, np.ndarray], object]


@dataclass(frozen=True, eq=False)
class SampleIds:
    """The samples of both sides that a number is computed from."""

    real: np.ndarray  # int64 [n], ascending ids; of a drawn side some may stand there repeatedly
    generated: np.ndarray

    def for_side(self, side: str) -> np.ndarray:
        """The ids of "real" or "generated"."""
        ids: np.ndarray = getattr(self, side)
        return ids


def feature_moments(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Of all samples."""
    return Moments.from_samples(values)


def normalized_moments(sample_ids: np.ndarray, values: np.ndarray) -> Moments:
    """Of rows scaled to length 1."""
    return Moments.from_samples(normalize_rows(values))


def top1_histogram(sample_ids: np.ndarray, values: np.ndarray) -> Histogram:
    """Of logits."""
    return Histogram.from_samples(values)


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """The features of some samples."""

    ids: np.ndarray  # int64, ascending

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> FeatureRows:
        present, rows = np.unique(sample_ids, return_index=True)
        selected = np.isin(present, self.ids, assume_unique=True)
        return FeatureRows.from_samples(present[selected], values[rows[selected]])


@dataclass(frozen=True, eq=False)
class SplitClassScores:
    """The class scores of every split."""

    ids: np.ndarray  # int64 [n], ascending
    splits: np.ndarray  # int64 [n], the split of each
    count: int

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> ClassScores:
        rows = np.searchsorted(self.ids, sample_ids)
        return ClassScores.from_samples(self.splits[rows], values, self.count)


@dataclass(frozen=True, eq=False)
class NestedSubsets:
    """Moments of nested random subsets."""

    ids: np.ndarray  # int64 [n], ascending
    ranks: np.ndarray  # int64 [n], the place of each in a random order
    sizes: tuple[int, ...]

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> NestedMoments:
        rows = np.searchsorted(self.ids, sample_ids)
        return NestedMoments.from_samples(self.ranks[rows], values, self.sizes)


def split_class_scores(samples: SampleIds, side: str, convention: Convention) -> SplitClassScores:
    """For the Inception Score."""
    ids = samples.for_side(side)
    return SplitClassScores(
        ids,
        assign_splits(len(ids), convention.is_splits, convention.is_shuffle),
        convention.is_splits,
    )


def nested_subsets(ids: np.ndarray, sizes: Sequence[int], seed: int) -> NestedSubsets:
    """Subsets of these sizes in one random order."""
    return NestedSubsets(ids, np.random.default_rng(seed).permutation(len(ids)), tuple(sizes))


def infinity_subset_sizes(count: int) -> list[int]:
    """Of the subsets for FID-infinity: 15 from 5,000 on, or from a tenth of fewer than 50,000."""
    return subset_sizes(count, smallest=min(5000, count // 10))


def kid_subsets(samples: SampleIds, convention: Convention) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of both sides that every subset of KID draws."""
    return draw_subsets(
        real=len(samples.real),
        generated=len(samples.generated),
        subsets=convention.kid_subsets,
        subset_size=convention.kid_subset_size,
        seed=convention.seed,
        order=convention.kid_order,
        generator=convention.kid_generator,
    )


def kid_rows(samples: SampleIds, side: str, convention: Convention) -> SelectedRows:
    """The samples of a side that KID draws at all."""
    side_index = 0 if side == "real" else 1
    rows = np.unique(
        np.concatenate([subset[side_index] for subset in kid_subsets(samples, convention)])
    )
    return SelectedRows(np.unique(samples.for_side(side)[rows]))


def estimated_bytes(need: StatisticFunction, dimension: int, rows: int) -> int:
    """What a statistic of so many rows takes in memory, about."""
    if isinstance(need, NestedSubsets):
        return 8 * dimension**2 * len(need.sizes)
    if isinstance(need, SelectedRows):
        return 4 * dimension * len(need.ids)
    if need == FeatureRows.from_samples:
        return 4 * dimension * rows
    if isinstance(need, SplitClassScores) or need is top1_histogram:
        return 8 * dimension
    return 8 * dimension**2
