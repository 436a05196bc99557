"""Other sets with the same histogram, from samples that were drawn already."""

from __future__ import annotations

import numpy as np

from raymetrics.errors import NotEnoughData


def stratified_positions(classes: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Positions of `counts[c]` samples of every class c, at random without repetition.

    classes: int64 [n], of the samples that were drawn; counts: int64 [classes]. int64, ascending.
    Rejection in the order of sample ids gives one set with this histogram; each seed gives
    another, equally good one. NotEnoughData for a class of which too few were drawn.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    by_class = order[np.argsort(classes[order], kind="stable")]
    available = np.bincount(classes, minlength=len(counts))
    if (available < counts).any():
        short_class = int(np.flatnonzero(available < counts)[0])
        raise NotEnoughData(
            f"{available[short_class]} samples of class {short_class} were drawn, {counts[short_class]} are asked "
            "for; draw more"
        )
    starts = np.cumsum(available) - available
    ranks = np.arange(len(classes)) - np.repeat(starts, available)
    is_chosen = ranks < np.repeat(counts, available)
    return np.sort(by_class[is_chosen])
