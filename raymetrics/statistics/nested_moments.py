"""Moments of random subsets of one set, each within the next: as many as asked, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np

from raymetrics.statistics.moments import Moments


@dataclass(frozen=True, eq=False)
class NestedMoments:
    """The moments of what each subset has more than the one before, bucket by bucket.

    The subset of size s is the samples of rank below s, where the rank of a sample is its place
    in a random order of the whole set. Samples past the largest subset are in no bucket.
    """

    counts: np.ndarray  # int64 [buckets]
    means: np.ndarray  # float64 [buckets, d]
    scatters: np.ndarray  # float64 [buckets, d, d]

    @classmethod
    def empty(cls, buckets: int, dimension: int) -> Self:
        """The moments of no features of this dimension, for this many subsets."""
        return cls.from_buckets([Moments.empty(dimension)] * buckets)

    @classmethod
    def from_samples(cls, ranks: np.ndarray, features: np.ndarray, sizes: Sequence[int]) -> Self:
        """ranks: int64 [n]; features: real [n, d]; sizes: of the subsets, ascending."""
        buckets = np.searchsorted(sizes, ranks, side="right")
        return cls.from_buckets(
            Moments.from_samples(features[buckets == i]) for i in range(len(sizes))
        )

    @classmethod
    def from_buckets(cls, buckets: Iterable[Moments]) -> Self:
        """From the moments of every bucket."""
        moments = list(buckets)
        return cls(
            np.array([m.count for m in moments], np.int64),
            np.stack([m.mean for m in moments]),
            np.stack([m.scatter for m in moments]),
        )

    def buckets(self) -> list[Moments]:
        """The moments of every bucket."""
        return [
            Moments(int(count), mean, scatter)
            for count, mean, scatter in zip(self.counts, self.means, self.scatters, strict=True)
        ]

    def merge(self, addend: Self) -> Self:
        """The moments of both sets. ValueError if their subsets or dimensions differ."""
        if self.means.shape != addend.means.shape:
            raise ValueError(
                f"nested moments of {list(self.means.shape)} and {list(addend.means.shape)} "
                "subsets and dimensions"
            )
        pairs = zip(self.buckets(), addend.buckets(), strict=True)
        return self.from_buckets(left.merge(right) for left, right in pairs)

    def moments(self) -> list[Moments]:
        """The moments of every subset, the smallest first."""
        return list(accumulate(self.buckets(), Moments.merge))
