"""Remember the features of one side: their moments, or their rows where a metric needs them.

A state is mergeable as every statistic is, and has a dictionary of arrays, so that it can be saved
and sent between processes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.statistics import Moments, from_arrays, to_arrays

_MOMENTS, _ROWS = "moments", "rows"


@dataclass
class FeatureState:
    """The features of one side, by column.

    row_columns: the columns of which every row is remembered, float32; of the others only the
    moments are.
    """

    row_columns: frozenset[str]
    count: int = 0
    moments: dict[str, Moments] = field(default_factory=dict)
    row_blocks: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, features: Mapping[str, np.ndarray]) -> None:
        """Add the features of some samples, {column: float32 [n, d]}."""
        for column, values in features.items():
            if column in self.row_columns:
                self.row_blocks.setdefault(column, []).append(np.array(values, np.float32))
            else:
                self._add_moments(column, Moments.from_samples(values))
        self.count += len(next(iter(features.values())))

    def rows(self, column: str) -> np.ndarray:
        """Return all rows of a column, float32 [n, d]."""
        blocks = self.row_blocks[column]
        if len(blocks) > 1:
            blocks[:] = [np.concatenate(blocks)]
        return blocks[0]

    def merge(self, addend: FeatureState) -> None:
        """Add the samples of another state after the samples of this one."""
        if addend.row_columns != self.row_columns:
            raise RaymetricsError(
                f"a state with rows of {sorted(addend.row_columns)} does not merge with one of "
                f"{sorted(self.row_columns)}; give both evaluators the same extractor and metrics"
            )
        for column, moments in addend.moments.items():
            self._add_moments(column, moments)
        for column, blocks in addend.row_blocks.items():
            self.row_blocks.setdefault(column, []).extend(blocks)
        self.count += addend.count

    def _add_moments(self, column: str, moments: Moments) -> None:
        known = self.moments.get(column)
        self.moments[column] = moments if known is None else known.merge(moments)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the state as arrays by name."""
        arrays = {"count": np.array(self.count)}
        for column, moments in self.moments.items():
            for name, value in to_arrays(moments).items():
                arrays[f"{_MOMENTS}/{column}/{name}"] = value
        return arrays | {f"{_ROWS}/{column}": self.rows(column) for column in self.row_blocks}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], row_columns: Collection[str]
    ) -> FeatureState:
        """Return the state of the arrays of `to_arrays`."""
        state = cls(frozenset(row_columns), int(arrays["count"]))
        moments: dict[str, dict[str, np.ndarray]] = {}
        for key, value in arrays.items():
            kind, _, column = key.partition("/")
            if kind == _ROWS:
                state.row_blocks[column] = [np.asarray(value)]
            elif kind == _MOMENTS:
                column, _, name = column.rpartition("/")
                moments.setdefault(column, {})[name] = np.asarray(value)
        state.moments = {column: from_arrays(Moments, value) for column, value in moments.items()}
        return state
