"""Sums of class probabilities, split by split: what the Inception Score needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import log_softmax


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Of every split: how many samples, their class probabilities, and how sure those are."""

    counts: np.ndarray  # int64 [splits]
    probabilities: np.ndarray  # float64 [splits, classes]: sums of p, the softmax of the logits
    negative_entropy: np.ndarray  # float64 [splits]: sums of sum p log p over the classes

    @classmethod
    def empty(cls, splits: int, classes: int) -> Self:
        """No samples."""
        return cls(np.zeros(splits, np.int64), np.zeros((splits, classes)), np.zeros(splits))

    @classmethod
    def from_samples(cls, splits_of_rows: np.ndarray, logits: np.ndarray, splits: int) -> Self:
        """splits_of_rows: int64 [n], in 0..splits-1; logits: real [n, classes]."""
        log_p = log_softmax(logits.astype(np.float64), axis=1)
        p = np.exp(log_p)
        belongs = np.arange(splits)[:, None] == splits_of_rows
        # As a product with 0 and 1, which adds the rows of each split up without a loop.
        weights = belongs.astype(np.float64)
        return cls(belongs.sum(axis=1), weights @ p, weights @ (p * log_p).sum(axis=1))

    def merge(self, addend: Self) -> Self:
        """The sums over both sets. ValueError if they have not the same splits and classes."""
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
