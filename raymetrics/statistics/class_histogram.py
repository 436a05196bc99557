"""How often each class comes first: the Top-1 histogram of logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Histogram:
    """Samples per class."""

    counts: np.ndarray  # int64 [classes]

    @classmethod
    def empty(cls, classes: int) -> Self:
        """No samples of this many classes."""
        return cls(np.zeros(classes, np.int64))

    @classmethod
    def from_samples(cls, logits: np.ndarray) -> Self:
        """logits: real [n, classes]; of equal logits the first class counts."""
        return cls(np.bincount(logits.argmax(axis=1), minlength=logits.shape[1]))

    @property
    def count(self) -> int:
        """How many samples."""
        return int(self.counts.sum())

    @property
    def shares(self) -> np.ndarray:
        """The share of every class, float64 [classes]; NaN without samples."""
        return self.counts / self.count

    def merge(self, addend: Self) -> Self:
        """The histogram of both sets. ValueError if they have not the same classes."""
        if self.counts.shape != addend.counts.shape:
            raise ValueError(f"histograms of {self.counts.size} and {addend.counts.size} classes")
        return type(self)(self.counts + addend.counts)
