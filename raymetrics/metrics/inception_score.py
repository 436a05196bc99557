"""The Inception Score (Salimans et al. 2016): the certainty and the variety of the classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import entr

from raymetrics.errors import NotEnoughData
from raymetrics.statistics import ClassScores


class InceptionScore(NamedTuple):
    """The mean and standard deviation over the splits; from 1 to the number of classes."""

    mean: float
    std: float


def inception_score(scores: ClassScores, ddof: int = 0) -> InceptionScore:
    """Compute exp E KL(p(y|x) || p(y)) of every split, where p(y) is the mean over the split.

    The variance is divided by the number of splits - ddof: with 0 as in torch-fidelity, with 1 as
    in torchmetrics. The deviation of a single split is 0. NotEnoughData if a split is empty.
    """
    if not scores.counts.all():
        raise NotEnoughData(
            f"{(scores.counts == 0).sum()} of {len(scores.counts)} splits of the Inception Score "
            "hold no samples; extract more, or ask for fewer splits"
        )
    by_split = scores_by_split(scores)
    spread = float(by_split.std(ddof=ddof)) if len(by_split) > ddof else 0.0
    return InceptionScore(float(by_split.mean()), spread)


def scores_by_split(scores: ClassScores) -> np.ndarray:
    """Compute the score of each split, float64 [splits]; none may be empty.

    The mean of KL(p(y|x) || p(y)) over x is the entropy of the mean minus the mean entropy.
    """
    entropy_of_mean = entr(scores.probabilities / scores.counts[:, None]).sum(axis=1)
    mean_entropy = -scores.negative_entropy / scores.counts
    by_split: np.ndarray = np.exp(entropy_of_mean - mean_entropy)
    return by_split


def assign_splits(
    count: int, splits: int = 10, seed: int | None = 2020, size: int | None = None
) -> np.ndarray:
    """Return the split of each of `count` rows, int64 [count].

    Split i is the i-th part of the rows in a random order, or in the given order if the seed is
    None. With seed 2020 the parts are torch-fidelity's; the score depends on them. NotEnoughData
    for fewer rows than splits.

    size: cut parts of so many rows in the place of equal ones; the last may have fewer.
    """
    if size is not None:
        splits = -(-count // size)
    if count < splits:
        raise NotEnoughData(
            f"{count} samples in {splits} splits of the Inception Score; it takes at least one "
            "in each: extract more, or ask for fewer splits"
        )
    borders = (
        np.arange(splits + 1) * count // splits
        if size is None
        else (np.minimum(np.arange(splits + 1) * size, count))
    )
    order = np.arange(count) if seed is None else np.random.RandomState(seed).permutation(count)
    split_ids = np.empty(count, np.int64)
    split_ids[order] = np.repeat(np.arange(splits), np.diff(borders))
    return split_ids
