"""The Top-1 histogram: how many samples have each class as the first of their logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Histogram:
    """The number of samples of each class."""

    counts: np.ndarray  # int64 [classes]

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Return the histogram of no samples over this many classes."""
        return cls(np.zeros(classes, np.int64))

    @classmethod
    def from_samples(cls, logits: np.ndarray) -> Self:
        """Count the samples of each class. logits: real [n, classes]; of equal ones the first."""
        return cls(np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]))

    @property
    def count(self) -> int:
        """The number of samples."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """The share of every class, float64 [classes]; NaN without samples."""
        return self.counts / self.count

    def merge(self, addend: Self) -> Self:
        """Add the counts of both sets. ValueError if their numbers of classes differ."""
        if self.counts.shape != addend.counts.shape:
            raise ValueError(f"histograms of {self.counts.size} and {addend.counts.size} classes")
        return type(self)(self.counts + addend.counts)
