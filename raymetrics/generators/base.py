"""What a generator is. A data set is one, whose ids are indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from raymetrics.errors import SampleRangeError, SourceError

SEED_COUNT = 2**32  # that RandomState takes: 0 to 2^32 - 1


class Generator(Protocol):
    """A pure function from sample ids to images: image k depends on k and on nothing else.

    An endless one whose sample ids are seeds of a limited range says how many, `seeds`.
    """

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
class LatentGenerator(Generator, Protocol):
    """A generator z -> w -> image, whose samples can be truncated and interpolated.

    Sample k is `synthesize(map(draw([k]), labels([k])))`. What has no intermediate space W has Z
    as one: its `map` gives z back. In `map` and `synthesize` row i is computed at place i % block
    (see `raymetrics.fixed_batches`), so that a caller who keeps a sample at its place gets its
    very bits.

    It may have an attribute `hindrance`: why, with its options, no single w makes a sample's
    image, and what to do about it; None where nothing is in the way. See `latent`.
    """

    @property
    def block(self) -> int:
        """The one batch size that its networks see."""

    def draw(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> z float32 [n, z], standard normal."""

    def map(self, z: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """z float32 [n, z], labels int64 [n] where there are classes -> w float32 [n, w]."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, w] -> images uint8 [n, 3, h, w]."""


def require_latent_generator(generator: Generator) -> LatentGenerator:
    """The generator, if its samples are images of latents; else SourceError."""
    if not isinstance(generator, LatentGenerator):
        raise SourceError(
            f"{generator.name} is no latent generator, so its samples cannot be truncated or "
            "interpolated; expected digits, faces, a network in a .pkl or TorchScript file, or a "
            "class of yours with draw(sample_ids), map(z, labels) and synthesize(w)"
        )
    reason: str | None = getattr(generator, "not_latent_because", None)
    if reason is not None:
        raise SourceError(f"{generator.name} cannot be truncated or interpolated: {reason}")
    return generator


def seeded_normals(sample_ids: np.ndarray, dimension: int) -> np.ndarray:
    """One standard normal vector per sample, float32 [n, dimension], from its own seed.

    Sample k draws from RandomState(k), as NVIDIA's generate.py does for seed k. RangeError for
    ids that are no seeds.
    """
    if sample_ids.max(initial=0) >= SEED_COUNT:
        raise SampleRangeError(
            f"sample id {sample_ids.max()} is no seed; this generator has 0-{SEED_COUNT - 1}"
        )
    rows = [np.random.RandomState(seed).randn(dimension) for seed in sample_ids]
    return np.stack(rows).astype(np.float32)
