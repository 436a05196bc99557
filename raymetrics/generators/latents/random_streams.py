"""Random numbers that belong to one sample and one purpose, beside those of its z."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What numbers are drawn for; another purpose, other numbers."""

    CANDIDATES = 1  # that a sample's rejected latent makes way for
    TRUNCATED_NORMALS = 2
    REPLACEMENT = 3
    DISTRIBUTION = 4  # the draws by which W is known; of no sample


def sample_stream(sample_id: int, purpose: Purpose) -> np.random.RandomState:
    """The numbers of a sample for a purpose.

    Philox is keyed by both, so that no two streams meet; RandomState's methods are those that
    numpy has promised never to change.
    """
    return np.random.RandomState(np.random.Philox(key=[sample_id, purpose]))


def uniforms(sample_ids: np.ndarray, purpose: Purpose, count: int) -> np.ndarray:
    """Numbers in 0..1 for each sample, float64 [n, count]."""
    return np.stack([sample_stream(k, purpose).random_sample(count) for k in sample_ids.tolist()])
