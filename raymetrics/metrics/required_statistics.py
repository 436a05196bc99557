"""Statistics that metrics need of one side, as functions of a block of samples.

Each is a function (sample_ids int64 [n], values float32 [n, d]) -> statistic. It is pickled, sent
to the tasks that read the shards, and called there with every block.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.special import softmax

from raymetrics.metrics import Convention, assign_splits, draw_subsets, normalize_rows, subset_sizes
from raymetrics.metrics.clip_score import scale_cosines
from raymetrics.metrics.random_projections import ProjectionDraws, project
from raymetrics.statistics import (
    ClassScores,
    FeatureRows,
    Histogram,
    Moments,
    NestedMoments,
    ProjectedFeatures,
)
from raymetrics.statistics.base import rows_of_subset


class StatisticFunction(Protocol):
    """A function from a block of samples to a statistic, with an estimate of the memory."""

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray, /) -> Any:
        """Return the statistic of a block: sample_ids int64 [n], values float32 [n, d]."""

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of the statistic of so many rows of this dimension."""


@dataclass(frozen=True, eq=False)
class SampleIds:
    """The samples of both sides that a number is computed from.

    Ids are ascending. A side that was drawn with repetitions has an id as often as it was drawn.
    """

    real: np.ndarray  # int64 [n]
    generated: np.ndarray  # int64 [m]

    @classmethod
    def of_rows(cls, real: Sized, generated: Sized) -> SampleIds:
        """Return ids for the rows of two arrays: their numbers."""
        return cls(real=np.arange(len(real)), generated=np.arange(len(generated)))

    def for_side(self, side: str) -> np.ndarray:
        """Return the ids of "real" or "generated"."""
        ids: np.ndarray = getattr(self, side)
        return ids


@dataclass(frozen=True)
class FeatureMoments:
    """The moments of all samples."""

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Moments:
        return Moments.from_samples(values)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of a covariance matrix in float64."""
        return 8 * dimension**2


@dataclass(frozen=True, eq=False)
class HalfMoments:
    """The moments of one random half of the samples, or of the other one."""

    ids: np.ndarray  # int64 [n], ascending: all samples
    seed: int
    half: int  # 0 or 1

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Moments:
        halves = np.random.default_rng(self.seed).permutation(len(self.ids)) % 2
        return Moments.from_samples(
            values[halves[np.searchsorted(self.ids, sample_ids)] == self.half]
        )

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of a covariance matrix in float64."""
        return 8 * dimension**2


@dataclass(frozen=True)
class CosineMoments:
    """The moments of the cosines of all images and prompts, scaled as CLIPScore has them."""

    scaling: str  # of raymetrics.metrics.clip_score.SCALINGS

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Moments:
        return Moments.from_samples(scale_cosines(values, self.scaling))

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of a mean and a variance in float64."""
        return 8 * dimension**2


@dataclass(frozen=True)
class NormalizedMoments:
    """The moments of all samples, scaled to length 1."""

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Moments:
        return Moments.from_samples(normalize_rows(values))

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of a covariance matrix in float64."""
        return 8 * dimension**2


@dataclass(frozen=True)
class ProbabilityMoments:
    """The moments of the class probabilities of all samples: the softmax of their logits."""

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Moments:
        return Moments.from_samples(softmax(values.astype(np.float64), axis=1))

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of a covariance matrix in float64."""
        return 8 * dimension**2


@dataclass(frozen=True)
class Top1Histogram:
    """The number of samples of each class that comes first in the logits."""

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> Histogram:
        return Histogram.from_samples(values)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of one int64 for every class."""
        return 8 * dimension


@dataclass(frozen=True)
class AllRows:
    """The features of all samples."""

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> FeatureRows:
        return FeatureRows.from_samples(sample_ids, values)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of all rows in float32."""
        return 4 * dimension * rows


@dataclass(frozen=True, eq=False)
class SelectedRows:
    """The features of the samples with these ids; of an id that is repeated, one row."""

    ids: np.ndarray  # int64, ascending

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> FeatureRows:
        present, rows = np.unique(sample_ids, return_index=True)
        selected = np.isin(present, self.ids, assume_unique=True)
        return FeatureRows.from_samples(present[selected], values[rows[selected]])

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of the selected rows in float32."""
        return 4 * dimension * len(self.ids)


@dataclass(frozen=True)
class ProjectedRows:
    """The projections of the samples that are compared, as rows of float32 [projections]."""

    draws: ProjectionDraws
    # The samples that are compared, int64 [n], ascending; None for all. The draws say which ones.
    ids: np.ndarray | None = field(compare=False)

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> ProjectedFeatures:
        if self.ids is not None:
            rows = rows_of_subset(sample_ids, self.ids)
            sample_ids, values = sample_ids[rows], values[rows]
        dimension = values.shape[1]
        projections = project(values, self.draws.directions(dimension))
        return ProjectedFeatures.from_samples(dimension, sample_ids, projections)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of all projections in float32."""
        return 4 * self.draws.projections * self.draws.count


@dataclass(frozen=True, eq=False)
class SplitClassScores:
    """The class scores of every split, for the Inception Score."""

    ids: np.ndarray  # int64 [n], ascending
    splits: np.ndarray  # int64 [n], the split of each sample
    count: int

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> ClassScores:
        rows = np.searchsorted(self.ids, sample_ids)
        return ClassScores.from_samples(self.splits[rows], values, self.count)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of one float64 for every class."""
        return 8 * dimension


@dataclass(frozen=True, eq=False)
class NestedSubsets:
    """The moments of nested random subsets, each of which holds the smaller ones."""

    ids: np.ndarray  # int64 [n], ascending
    ranks: np.ndarray  # int64 [n], the position of each sample in a random order
    sizes: tuple[int, ...]

    def __call__(self, sample_ids: np.ndarray, values: np.ndarray) -> NestedMoments:
        rows = np.searchsorted(self.ids, sample_ids)
        return NestedMoments.from_samples(self.ranks[rows], values, self.sizes)

    def estimated_bytes(self, dimension: int, rows: int) -> int:
        """Estimate the bytes of one covariance matrix in float64 for every subset."""
        return 8 * dimension**2 * len(self.sizes)


def projected_rows(samples: SampleIds, side: str, projections: int, seed: int) -> ProjectedRows:
    """Return the statistic of MIND: the projections of the samples of a side that it compares."""
    draws = ProjectionDraws(len(samples.real), len(samples.generated), projections, seed)
    rows = draws.chosen_rows(side)
    return ProjectedRows(draws, None if rows is None else samples.for_side(side)[rows])


def split_class_scores(samples: SampleIds, side: str, convention: Convention) -> SplitClassScores:
    """Return the statistic of the Inception Score: class scores by split."""
    ids = samples.for_side(side)
    splits = inception_splits(len(ids), convention)
    return SplitClassScores(ids, splits, int(splits.max(initial=-1)) + 1)


def inception_splits(count: int, convention: Convention) -> np.ndarray:
    """Return the split of each of `count` samples for the Inception Score, int64 [count]."""
    size = convention.is_split_size
    return assign_splits(count, convention.is_splits, convention.is_shuffle, size)


def nested_subsets(ids: np.ndarray, sizes: Sequence[int], seed: int) -> NestedSubsets:
    """Return the statistic of nested subsets of these sizes in one random order."""
    return NestedSubsets(ids, np.random.default_rng(seed).permutation(len(ids)), tuple(sizes))


def infinity_subset_sizes(count: int) -> list[int]:
    """Return the sizes of the subsets of FID-infinity: 15 sizes, the smallest 5,000, or a tenth of
    the count where that is less."""
    return subset_sizes(count, smallest=min(5000, count // 10))


def kid_subsets(samples: SampleIds, convention: Convention) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the rows of both sides for every subset of KID."""
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
    """Return the statistic of KID: the rows of a side that any of its subsets draws."""
    side_index = 0 if side == "real" else 1
    rows = np.unique(
        np.concatenate([subset[side_index] for subset in kid_subsets(samples, convention)])
    )
    return SelectedRows(np.unique(samples.for_side(side)[rows]))
