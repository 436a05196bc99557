"""A statistic of each group of samples, and of all samples without each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class GroupedStatistics:
    """The statistics of groups; a group without samples is not there."""

    by_group: Mapping[int, Any]

    @classmethod
    def empty(cls) -> Self:
        """Return no groups."""
        return cls({})

    @classmethod
    def from_samples(
        cls,
        sample_ids: np.ndarray,
        values: np.ndarray,
        groups: np.ndarray,
        compute: Callable[[np.ndarray, np.ndarray], Any],
    ) -> Self:
        """Compute the statistic of each group of a block.

        sample_ids: int64 [n]; values: [n, d]; groups: int64 [n], the group of each sample.
        """
        present = np.unique(groups).tolist()
        return cls({g: compute(sample_ids[groups == g], values[groups == g]) for g in present})

    def merge(self, addend: Self) -> Self:
        """Merge group by group."""
        merged = dict(self.by_group)
        for group, statistic in addend.by_group.items():
            merged[group] = merged[group].merge(statistic) if group in merged else statistic
        return type(self)(merged)

    @property
    def total(self) -> Any:
        """The statistic of all samples, merged in the order of the groups."""
        return reduce(_merge, self._ordered)

    def without_each(self) -> list[Any]:
        """Return the statistics of all samples but those of one group, for each of two or more.

        Merges what is before a group with what is after it, so that nothing is subtracted.
        """
        ordered = self._ordered
        before = list(accumulate(ordered[:-1], _merge))
        after = list(accumulate(ordered[:0:-1], lambda right, left: left.merge(right)))[::-1]
        middle = [left.merge(right) for left, right in zip(before[:-1], after[1:], strict=True)]
        return [after[0], *middle, before[-1]]

    @property
    def _ordered(self) -> list[Any]:
        return [self.by_group[group] for group in sorted(self.by_group)]


def _merge(left: Any, right: Any) -> Any:
    return left.merge(right)


def assign_groups(sample_ids: np.ndarray, count: int) -> np.ndarray:
    """Return the group of each sample, int64 [n] in 0..count-1; groups differ by one in size.

    sample_ids: int64 [n]. Samples are dealt out in the order of a hash of their ids: consecutive
    ids may be of one class, and every tenth one too, and groups must be alike. The same ids have
    the same groups in every set. Copies of an id are in one group only by chance.
    """
    groups = np.empty(len(sample_ids), np.int64)
    groups[np.argsort(_hash(sample_ids), kind="stable")] = np.arange(len(sample_ids)) % count
    return groups


def _hash(numbers: np.ndarray) -> np.ndarray:
    """Compute the hash of splitmix64 (Steele et al. 2014), uint64 [n]."""
    z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = z ^ (z >> np.uint64(31))
    return mixed
