"""Clipped density and clipped coverage (Salvy et al. 2026): shares of good samples.

Outliers weigh little: no sample counts for more than 1, and no ball of the density is larger than
the median one.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaln, gammaln


def clipped_density(*, generated_hits: np.ndarray, real_hits: np.ndarray, k: int) -> float:
    """Compute the density of the generated samples, divided by that of the real ones; at most 1.

    generated_hits, real_hits: int64 [m], [n], how many clipped balls of the real, or of the other
    real samples, hold each sample.
    """
    return min(clipped_share(generated_hits, k) / clipped_share(real_hits, k), 1.0)


def clipped_share(counts: np.ndarray, k: int) -> float:
    """Compute the mean of min(count / k, 1)."""
    return float(np.minimum(counts / k, 1).mean())


def clipped_coverage(*, occupancy: np.ndarray, generated: int, k: int) -> float:
    """Compute the share of good samples whose coverage would be expected to be the one found.

    occupancy: int64 [n], how many generated samples lie in the open ball of each real one.
    generated: the number of them all, M. Returns the position of the coverage among the expected
    ones of 0, 1, ... M good samples, divided by M + 1, as the authors' program does.
    """
    expected = expected_coverages(real=len(occupancy), generated=generated, k=k)
    return float(np.searchsorted(expected, clipped_share(occupancy, k)) / (generated + 1))


def expected_coverages(*, real: int, generated: int, k: int) -> np.ndarray:
    """Compute the expected coverage by 0, 1, ... M samples of the real distribution, f64 [M + 1].

    The number j of them in a ball up to the k-th of the N - 1 other real samples follows C(M, j)
    B(k + j, N + M - k - j) / B(k, N - k), and f(M) is the mean of min(j, k) / k; below k samples it
    is taken as 0. The sum runs over j < k alone, as the probabilities add up to 1.
    """
    good = np.arange(generated + 1.0)[:, None]
    j = np.arange(k)
    log_choices = gammaln(good + 1) - gammaln(j + 1) - gammaln(np.maximum(good - j, 0) + 1)
    log_shares = betaln(k + j, np.maximum(real + good - k - j, 1)) - betaln(k, real - k)
    missing = ((k - j) * np.exp(log_choices + log_shares)).sum(axis=1) / k
    coverages = np.where(good[:, 0] < k, 0.0, 1 - missing)
    return np.maximum.accumulate(coverages)  # which they are, but for rounding
