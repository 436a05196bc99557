"""All features by sample id, for metrics that need every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Features in the ascending order of their sample ids."""

    sample_ids: np.ndarray  # int64 [n], ascending
    features: np.ndarray  # float32 [n, d]

    @classmethod
    def empty(cls, dimension: int) -> Self:
        """Return no rows, of this dimension."""
        return cls(np.empty(0, np.int64), np.empty((0, dimension), np.float32))

    @classmethod
    def from_samples(cls, sample_ids: np.ndarray, features: np.ndarray) -> Self:
        """Sort rows by sample id. sample_ids: int64 [n], in any order; features: float32 [n, d]."""
        order = np.argsort(sample_ids)
        return cls(sample_ids[order], features[order])

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.sample_ids)

    def merge(self, addend: Self) -> Self:
        """Join the rows of both sets. ValueError if a sample is in both, or dimensions differ."""
        if self.features.shape[1] != addend.features.shape[1]:
            raise ValueError(
                f"rows of {self.features.shape[1]} and {addend.features.shape[1]} dimensions"
            )
        sample_ids = np.concatenate([self.sample_ids, addend.sample_ids])
        features = np.concatenate([self.features, addend.features])
        if (
            len(self.sample_ids)
            and len(addend.sample_ids)
            and sample_ids[len(self.sample_ids)] <= self.sample_ids[-1]
        ):
            order = np.argsort(sample_ids)
            sample_ids, features = sample_ids[order], features[order]
            if (np.diff(sample_ids) == 0).any():
                raise ValueError("a sample is in both sets of rows")
        return type(self)(sample_ids, features)
