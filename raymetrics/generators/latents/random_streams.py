"""Draw random numbers that belong to one sample and one purpose, apart from those of its z."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """The purpose of random numbers; each purpose has other numbers."""

    CANDIDATES = 1  # latents that may replace a sample's rejected latent
    TRUNCATED_NORMALS = 2
    REPLACEMENT = 3
    DISTRIBUTION = 4  # draws from which the distribution of w is estimated; of no sample


def sample_stream(sample_id: int, purpose: Purpose) -> np.random.RandomState:
    """Return the stream of random numbers of a sample for a purpose.

    The key of Philox is the pair of both, so that no two streams share numbers. numpy promises that
    the methods of RandomState never change.
    """
    return np.random.RandomState(np.random.Philox(key=[sample_id, purpose]))


def uniforms(sample_ids: np.ndarray, purpose: Purpose, count: int) -> np.ndarray:
    """Draw `count` uniform numbers in 0..1 for each sample, float64 [n, count]."""
    return np.stack([sample_stream(k, purpose).random_sample(count) for k in sample_ids.tolist()])
