"""A generator's z and w of samples, each at its place in a fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, LatentGenerator, require_latent_generator


@runtime_checkable
class LatentsSource(Generator, Protocol):
    """A generator whose image k is `synthesize(latents([k]))`, as truncated ones are."""

    @property
    def block(self) -> int:
        """The one batch size that its networks see."""

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """sample_ids int64 [n] -> w float32 [n, w]."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """w float32 [n, w] -> images uint8 [n, 3, h, w]."""


def sample_w(generator: Generator, sample_ids: np.ndarray) -> np.ndarray:
    """The w that the generator makes these samples of, float32 [n, w].

    SourceError for a generator that has none.
    """
    if isinstance(generator, LatentsSource):
        return generator.latents(sample_ids)
    inner = require_latent_generator(generator)
    places = sample_ids % inner.block
    return map_at_places(inner, places, inner.draw(sample_ids), inner.labels(sample_ids))


def map_at_places(
    generator: LatentGenerator, places: np.ndarray, z: np.ndarray, labels: np.ndarray | None
) -> np.ndarray:
    """`generator.map`, row i computed at place places[i] of a block."""
    if labels is None:
        return _run_at_places(lambda z: generator.map(z, None), places, generator.block, z)
    return _run_at_places(generator.map, places, generator.block, z, labels)


def synthesize_samples(
    generator: LatentGenerator | LatentsSource, sample_ids: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """`generator.synthesize`, every sample at its place. SourceError names the samples."""
    try:
        places = sample_ids % generator.block
        return _run_at_places(generator.synthesize, places, generator.block, w)
    except SourceError as error:
        raise SourceError(
            f"among samples {sample_ids.min()}-{sample_ids.max()}, which are counted by their "
            f"places in blocks of {generator.block}: {error}"
        ) from None


def _run_at_places(
    function: Callable[..., np.ndarray], places: np.ndarray, size: int, *inputs: np.ndarray
) -> np.ndarray:
    """`function(*inputs)`, computed on batches of exactly `size` rows, row i at place places[i].

    Empty places hold a copy of a row: zeros are nobody's latent, and may not be finite when
    they come out.
    """
    ranks = _rank_in_group(places)
    results: np.ndarray | None = None
    for rank in range(ranks.max(initial=0) + 1):
        rows = np.flatnonzero(ranks == rank)
        batch = np.full(size, rows[0])
        batch[places[rows]] = rows
        output = function(*(values[batch] for values in inputs))
        if results is None:
            results = np.empty((len(places), *output.shape[1:]), output.dtype)
        results[rows] = output[places[rows]]
    assert results is not None
    return results


def _rank_in_group(places: np.ndarray) -> np.ndarray:
    """How many rows before each one have the same place, int64 [n]."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    counts = np.empty(len(places), np.int64)
    counts[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    return counts
