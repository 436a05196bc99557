"""The median distance of all pairs of rows, by which kernels choose their bandwidth."""

from __future__ import annotations

import numpy as np

from raymetrics.metrics.pair_tiles import map_upper_tiles

_SAMPLED_PAIRS = 2**17
_CHUNK_PAIRS = 2**12  # whose differences are held at a time
# How far from the median a sampled quantile is looked for: the first is 5 standard deviations of
# the share of sampled pairs below it; the last holds all pairs.
_WIDTHS = (0.007, 0.05, 0.5)
_FEW_PAIRS = 2**22  # that are all held at a time: 34 MB


def median_distance(features: np.ndarray) -> float:
    """Find the median distance of all pairs of different rows, exactly; of two, the lower one.

    features: float64 [n, d], n at least 2. Looks at the pairs tile by tile, and keeps only those
    near the median: 1.4 % of them, except of features with many equal distances.
    """
    x = features - features.mean(axis=0)
    pairs = len(x) * (len(x) - 1) // 2
    sample = _sample_distances(x) if pairs > _FEW_PAIRS else None
    for width in _WIDTHS:
        low, high = (0.0, np.inf) if sample is None else _quantiles(sample, width)
        below, near = _split_pairs(x, low, high)
        rank = (pairs - 1) // 2 - below
        if 0 <= rank < len(near):
            return float(np.sqrt(np.partition(near, rank)[rank]))
    raise AssertionError("the last width holds all pairs")


def _quantiles(sample: np.ndarray, width: float) -> tuple[float, float]:
    """Return the quantiles on both sides of the median; 0 and infinity if all pairs are meant."""
    if width >= 0.5:
        return 0.0, np.inf
    low, high = np.quantile(sample, [0.5 - width, 0.5 + width])
    return float(low), float(high)


def _sample_distances(x: np.ndarray) -> np.ndarray:
    """Compute the squared distances of random pairs, float64 [pairs]."""
    rng = np.random.default_rng(0)
    first = rng.integers(len(x), size=_SAMPLED_PAIRS)
    second = (first + rng.integers(1, len(x), size=_SAMPLED_PAIRS)) % len(x)
    return np.concatenate(
        [
            np.square(x[first[chunk]] - x[second[chunk]]).sum(axis=1)
            for i in range(0, _SAMPLED_PAIRS, _CHUNK_PAIRS)
            for chunk in [slice(i, i + _CHUNK_PAIRS)]
        ]
    )


def _split_pairs(x: np.ndarray, low: float, high: float) -> tuple[int, np.ndarray]:
    """Count the pairs with a squared distance below `low`, and return those from it to `high`."""
    lengths = np.einsum("ij,ij->i", x, x)

    def split(rows: slice, columns: slice) -> tuple[int, np.ndarray]:
        squares = x[rows] @ x[columns].T
        squares *= -2
        squares += lengths[rows, None]
        squares += lengths[columns]
        values = squares[np.triu_indices(len(squares), 1)] if rows == columns else squares.ravel()
        np.maximum(values, 0, out=values)
        return int(np.count_nonzero(values < low)), values[(values >= low) & (values <= high)]

    counts, near = zip(*map_upper_tiles(split, len(x)), strict=True)
    return sum(counts), np.concatenate(near)
