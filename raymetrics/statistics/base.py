"""What is remembered of many features.

A statistic is a frozen dataclass of numbers and arrays with three names:

    empty(...)      what is remembered of nothing
    of(block)       what is remembered of one block of samples
    merge(other)    what is remembered of both

and these laws, which a test holds for every one of them: merging with empty changes nothing;
merging is associative and commutative; so any partition of the samples gives the same. Those of
integers and rows keep them to the bit; those of float sums (`Moments`, `NestedMoments`,
`ClassScores`) to rounding; merged in the order of sample ids, even their bits do not depend on
the number of workers. The numbers of the field are formulas of merged
statistics, and live in `raymetrics.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import numpy as np


class Statistic(Protocol):
    """Anything that merges with its like."""

    def merge(self, addend: Self) -> Self:
        """What is remembered of both; neither is changed."""


Block = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ColumnStatistic:
    """A statistic of one column: `of(sample_ids, values)` makes it from a block."""

    column: str
    compute: Callable[[np.ndarray, np.ndarray], Any]
    label: int | None = None  # only of the samples with this label

    def __call__(self, block: Block) -> Any:
        ids, values = block["sample_id"], block[self.column]
        if self.label is not None:
            ids, values = ids[block["label"] == self.label], values[block["label"] == self.label]
        return self.compute(ids, values)

    @property
    def columns(self) -> set[str]:
        """What it needs of a block beside the sample ids."""
        return {self.column} if self.label is None else {self.column, "label"}


def fold(blocks: Iterable[Block], measures: Mapping[str, ColumnStatistic]) -> dict[str, Any]:
    """Every measure of all blocks, in one pass; merged in the order of the blocks.

    Empty if there are no blocks.
    """
    merged: dict[str, Any] = {}
    for block in blocks:
        merged = merge_all(merged, {name: measure(block) for name, measure in measures.items()})
    return merged


def merge_all(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Merges statistics by name."""
    if not left:
        return dict(right)
    return {name: left[name].merge(statistic) for name, statistic in right.items()}


def to_arrays(statistic: Any) -> dict[str, np.ndarray]:
    """The fields of a statistic as arrays, losslessly, for `np.savez`."""
    return {f.name: np.asarray(getattr(statistic, f.name)) for f in fields(statistic)}


def from_arrays(kind: Callable[..., Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The statistic of this kind whose fields `to_arrays` gave."""
    return kind(**{name: a.item() if a.ndim == 0 else a for name, a in arrays.items()})
