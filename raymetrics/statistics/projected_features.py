"""Features projected onto directions, by sample id, for metrics that sort each projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from raymetrics.statistics.feature_rows import FeatureRows


@dataclass(frozen=True, eq=False)
class ProjectedFeatures:
    """Projections in the ascending order of their sample ids."""

    dimension: int  # of the features
    sample_ids: np.ndarray  # int64 [n], ascending
    projections: np.ndarray  # float32 [n, directions]

    @classmethod
    def empty(cls, dimension: int, directions: int) -> Self:
        """Return no projections, of features of this dimension."""
        return cls(dimension, np.empty(0, np.int64), np.empty((0, directions), np.float32))

    @classmethod
    def from_samples(cls, dimension: int, sample_ids: np.ndarray, projections: np.ndarray) -> Self:
        """Sort rows by sample id. sample_ids: int64 [n]; projections: float32 [n, directions]."""
        rows = FeatureRows.from_samples(sample_ids, projections)
        return cls(dimension, rows.sample_ids, rows.features)

    def merge(self, addend: Self) -> Self:
        """Join the rows of both sets. ValueError if a sample is in both, or dimensions differ."""
        if self.dimension != addend.dimension:
            raise ValueError(f"features of {self.dimension} and {addend.dimension} dimensions")
        rows = self._rows.merge(addend._rows)
        return type(self)(self.dimension, rows.sample_ids, rows.features)

    @property
    def _rows(self) -> FeatureRows:
        return FeatureRows(self.sample_ids, self.projections)
