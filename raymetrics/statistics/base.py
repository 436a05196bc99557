"""Statistics of many samples, computed block by block and merged.

A statistic is a frozen dataclass of numbers and arrays with three methods:

    empty(...)           the statistic of no samples
    from_samples(...)    the statistic of one block of samples
    merge(addend)        the statistic of both sets of samples

Tests hold these laws for every statistic. Merging with an empty statistic changes nothing. Merging
is associative and commutative, so every partition of the samples gives the same statistic. Integers
and rows keep the laws to the bit; sums of floats (`Moments`, `NestedMoments`, `ClassScores`) keep
them to rounding. All statistics are merged in the order of sample ids, so that even their bits do
not depend on the number of workers. The metrics are formulas of merged statistics, in
`raymetrics.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np


class Statistic(Protocol):
    """Any object that merges with another one of the same class."""

    def merge(self, addend: Self) -> Self:
        """Return the statistic of both sets of samples; neither statistic is changed."""


Block = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class ColumnStatistic:
    """A statistic of one column, which `compute(sample_ids, values)` makes from a block."""

    column: str
    compute: Callable[[np.ndarray, np.ndarray], Any]
    # Only of these samples, int64 [n], ascending; a sample counts as often as its id stands here.
    subset_ids: np.ndarray | None = None

    def __call__(self, block: Block) -> Any:
        ids, values = block["sample_id"], block[self.column]
        if self.subset_ids is None:
            return self.compute(ids, values)
        rows = rows_of_subset(ids, self.subset_ids)
        return self.compute(ids[rows], values[rows])


def rows_of_subset(ids: np.ndarray, subset_ids: np.ndarray) -> np.ndarray:
    """Find the rows of the subset's samples in a block, int64; both ids are ascending.

    Of an id that the block repeats, the first row. Looks only at the subset's ids within the range
    of the block, as each of many subsets has few samples there.
    """
    if not len(ids):
        return np.empty(0, np.int64)
    wanted = subset_ids[slice(*np.searchsorted(subset_ids, [ids[0], ids[-1] + 1]))]
    rows = np.searchsorted(ids, wanted)
    return rows[ids[rows] == wanted]


def fold(blocks: Iterable[Block], measures: Mapping[str, ColumnStatistic]) -> dict[str, Any]:
    """Compute every measure of all blocks in one pass, merged in the order of the blocks.

    The result has no measures if there are no blocks.
    """
    merged: dict[str, Any] = {}
    for block in blocks:
        merged = merge_all(merged, {name: measure(block) for name, measure in measures.items()})
    return merged


def merge_all(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Merge statistics of the same name. An empty `left` stands for no samples."""
    if not left:
        return dict(right)
    return {name: left[name].merge(statistic) for name, statistic in right.items()}


def to_arrays(statistic: Any) -> dict[str, np.ndarray]:
    """Return the fields of a statistic as arrays, losslessly, for `np.savez`."""
    return {f.name: np.asarray(getattr(statistic, f.name)) for f in fields(statistic)}


def from_arrays(kind: Callable[..., Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Make a statistic of this class from the arrays of `to_arrays`."""
    return kind(**{name: a.item() if a.ndim == 0 else a for name, a in arrays.items()})
