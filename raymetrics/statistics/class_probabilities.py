"""Sums of class probabilities for each split, for the Inception Score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import log_softmax


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The samples, class probabilities and negative entropies of every split, summed."""

    counts: np.ndarray  # int64 [splits]
    probabilities: np.ndarray  # float64 [splits, classes]: sums of p, the softmax of the logits
    negative_entropy: np.ndarray  # float64 [splits]: sums of sum p log p over the classes

    @classmethod
    def empty(cls, splits: int, classes: int) -> Self:
        """Return the sums over no samples."""
        return cls(np.zeros(splits, np.int64), np.zeros((splits, classes)), np.zeros(splits))

    @classmethod
    def from_samples(cls, splits_of_rows: np.ndarray, logits: np.ndarray, splits: int) -> Self:
        """Sum over the samples of each split.

        splits_of_rows: int64 [n], the split of each row, in 0..splits-1; logits: real [n, classes].
        """
        log_p = log_softmax(logits.astype(np.float64), axis=1)
        p = np.exp(log_p)
        belongs = np.arange(splits)[:, None] == splits_of_rows
        # A product with zeros and ones adds up the rows of each split without a loop.
        weights = belongs.astype(np.float64)
        return cls(belongs.sum(axis=1), weights @ p, weights @ (p * log_p).sum(axis=1))

    def merge(self, addend: Self) -> Self:
        """Add the sums over both sets. ValueError if their splits or classes differ in number."""
        if self.probabilities.shape != addend.probabilities.shape:
            raise ValueError(
                f"class scores of {list(self.probabilities.shape)} and "
                f"{list(addend.probabilities.shape)} splits and classes"
            )
        return type(self)(
            self.counts + addend.counts,
            self.probabilities + addend.probabilities,
            self.negative_entropy + addend.negative_entropy,
        )
