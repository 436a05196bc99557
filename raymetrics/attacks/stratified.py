"""Other sets with the same histogram, from samples that were drawn already."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import NotEnoughData


def stratified(classes: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Positions of `counts[c]` samples of every class c, at random without repetition.

    classes: int64 [n], of the samples that were drawn; counts: int64 [classes]. int64, ascending.
    Rejection in the order of sample ids gives one set with this histogram; each seed gives
    another, equally good one. NotEnoughData for a class of which too few were drawn.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    by_class = order[np.argsort(classes[order], kind="stable")]
    there = np.bincount(classes, minlength=len(counts))
    if (there < counts).any():
        lacking = int(np.flatnonzero(there < counts)[0])
        raise NotEnoughData(
            f"{there[lacking]} samples of class {lacking} were drawn, {counts[lacking]} are asked "
            "for; draw more"
        )
    starts = np.cumsum(there) - there
    ranks = np.arange(len(classes)) - np.repeat(starts, there)
    kept = ranks < np.repeat(counts, there)
    return np.sort(by_class[kept])
