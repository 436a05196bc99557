"""Moments of random subsets of one set, each of which contains the smaller ones, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np

from raymetrics.statistics.moments import Moments


@dataclass(frozen=True, eq=False)
class NestedMoments:
    """The moments of buckets; a bucket holds the samples that a subset has and the last one lacks.

    The subset of size s holds the samples of rank below s, where the rank of a sample is its
    position in a random order of the whole set. Samples outside of the largest subset are in no
    bucket.
    """

    counts: np.ndarray  # int64 [buckets]
    means: np.ndarray  # float64 [buckets, d]
    scatters: np.ndarray  # float64 [buckets, d, d]

    @classmethod
    def empty(cls, buckets: int, dimension: int) -> Self:
        """Return the moments of no features of this dimension, for this many subsets."""
        return cls.from_buckets([Moments.empty(dimension)] * buckets)

    @classmethod
    def from_samples(cls, ranks: np.ndarray, features: np.ndarray, sizes: Sequence[int]) -> Self:
        """Compute the moments of every bucket.

        ranks: int64 [n]; features: real [n, d]; sizes: of the subsets, ascending.
        """
        buckets = np.searchsorted(sizes, ranks, side="right")
        return cls.from_buckets(
            Moments.from_samples(features[buckets == i]) for i in range(len(sizes))
        )

    @classmethod
    def from_buckets(cls, buckets: Iterable[Moments]) -> Self:
        """Stack the moments of all buckets."""
        moments = list(buckets)
        return cls(
            np.array([m.count for m in moments], np.int64),
            np.stack([m.mean for m in moments]),
            np.stack([m.scatter for m in moments]),
        )

    def buckets(self) -> list[Moments]:
        """Return the moments of every bucket."""
        return [
            Moments(int(count), mean, scatter)
            for count, mean, scatter in zip(self.counts, self.means, self.scatters, strict=True)
        ]

    def merge(self, addend: Self) -> Self:
        """Merge bucket by bucket. ValueError if subsets or dimensions differ."""
        if self.means.shape != addend.means.shape:
            raise ValueError(
                f"nested moments of {list(self.means.shape)} and {list(addend.means.shape)} "
                "subsets and dimensions"
            )
        pairs = zip(self.buckets(), addend.buckets(), strict=True)
        return self.from_buckets(left.merge(right) for left, right in pairs)

    def moments(self) -> list[Moments]:
        """Return the moments of every subset, the smallest first."""
        return list(accumulate(self.buckets(), Moments.merge))
