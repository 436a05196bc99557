"""Compute w and images of samples, each at its own place in a fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, LatentGenerator, require_latent_generator


@runtime_checkable
class LatentsSource(Generator, Protocol):
    """A generator whose image k is `synthesize(latents([k]))`, such as a truncated generator."""

    @property
    def block(self) -> int:
        """The only batch size on which the networks run."""

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """Compute w float32 [n, w] of sample ids int64 [n]."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from w float32 [n, w]."""


def sample_w(generator: Generator, sample_ids: np.ndarray) -> np.ndarray:
    """Compute the w of samples, float32 [n, w]; raise SourceError if the generator has no W."""
    if isinstance(generator, LatentsSource):
        return generator.latents(sample_ids)
    inner = require_latent_generator(generator)
    places = sample_ids % inner.block
    return map_at_places(inner, places, inner.draw(sample_ids), inner.labels(sample_ids))


def map_at_places(
    generator: LatentGenerator, places: np.ndarray, z: np.ndarray, labels: np.ndarray | None
) -> np.ndarray:
    """Call `generator.map` with row i at place places[i] of a batch; returns float32 [n, w]."""
    if labels is None:
        return _run_at_places(lambda z: generator.map(z, None), places, generator.block, z)
    return _run_at_places(generator.map, places, generator.block, z, labels)


def synthesize_samples(
    generator: LatentGenerator | LatentsSource, sample_ids: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """Call `generator.synthesize` with every sample at its own place of a batch.

    Returns images uint8 [n, 3, h, w]. Raises SourceError, with the range of samples, if the
    generator raises one.
    """
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
    """Call `function(*inputs)` on batches of exactly `size` rows, with row i at place places[i].

    Empty places hold a copy of a row, as zeros are no sample's latent, and their outputs may not be
    finite.
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
    """Count, for each row, the earlier rows with the same place, int64 [n]."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    counts = np.empty(len(places), np.int64)
    counts[order] = np.arange(len(places)) - np.searchsorted(ordered, ordered)
    return counts
