"""What a generator is. A data set is one, whose ids are indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from raymetrics.errors import RangeError


class Generator(Protocol):
    """A pure function from sample ids to images: image k depends on k and on nothing else."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> Mapping[str, object]:
        """All that changes its pixels, as JSON values: digest of the weights, options."""

    @property
    def length(self) -> int | None:
        """How many samples there are; None for an endless generator."""

    def __call__(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> images uint8 [n, 3, h, w]."""

    def labels(self, sample_ids: np.ndarray) -> np.ndarray | None:
        """The classes of the samples, int64 [n]; None where they are not known."""


@runtime_checkable
class LatentGenerator(Protocol):
    """A generator with an intermediate latent space W, in which truncation works."""

    def map(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> w float32 [n, d]."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, d] -> images uint8 [n, 3, h, w]."""


def seeded_normals(sample_ids: np.ndarray, dimension: int) -> np.ndarray:
    """One standard normal vector per sample, float32 [n, dimension], from its own seed.

    Sample k draws from RandomState(k), as NVIDIA's generate.py does for seed k. RangeError for
    ids that are no seeds.
    """
    if sample_ids.max(initial=0) >= 2**32:
        raise RangeError(
            f"sample id {sample_ids.max()} is no seed; this generator has 0-{2**32 - 1}"
        )
    rows = [np.random.RandomState(seed).randn(dimension) for seed in sample_ids]
    return np.stack(rows).astype(np.float32)
