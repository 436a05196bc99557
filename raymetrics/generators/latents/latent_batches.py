"""Compute w and images of samples, each at its own place in a fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import Generator, LatentGenerator, require_latent_generator
from raymetrics.generators.tensor_generator import as_tensor

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class LatentsSource(Generator, Protocol):
    """A generator whose image k is `synthesize(latents([k]))`, such as a truncated generator."""

    @property
    def block(self) -> int:
        """The only batch size on which the networks run."""

    def latents(self, sample_ids: np.ndarray) -> np.ndarray:
        """Compute w float32 [n, w], or of each layer, [n, layers, w], of sample ids int64 [n]."""

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Synthesize images uint8 [n, 3, h, w] from what `latents` returns."""


def sample_w(generator: Generator, sample_ids: np.ndarray) -> np.ndarray:
    """Compute the w of samples, float32 [n, w], or [n, layers, w] if the layers' w differ.

    Raises SourceError if the generator has no W.
    """
    if isinstance(generator, LatentsSource):
        return generator.latents(sample_ids)
    inner = require_latent_generator(generator)
    places = sample_ids % inner.block
    return map_at_places(inner, places, inner.draw(sample_ids), inner.labels(sample_ids))


def map_at_places(
    generator: LatentGenerator,
    places: np.ndarray,
    z: np.ndarray,
    labels: np.ndarray | None,
    mapping: Callable[[np.ndarray, np.ndarray | None], np.ndarray] | None = None,
) -> np.ndarray:
    """Call `generator.map` with row i at place places[i] of a batch; returns float32 [n, w].

    mapping: what to call instead of `generator.map`.
    """
    call = mapping or generator.map

    def map_rows(rows: np.ndarray) -> Tensor:
        return as_tensor(call(z[rows], None if labels is None else labels[rows]))

    return _run_at_places(map_rows, places, generator.block).numpy()


def synthesize_tensors(generator: LatentGenerator | LatentsSource, w: np.ndarray) -> Tensor:
    """Synthesize images uint8 [n, 3, h, w] as a tensor, on the generator's device if it has one.

    w: float32 [n, w].
    """
    synthesize = getattr(generator, "synthesize_tensors", None)
    if synthesize is not None:
        images: Tensor = synthesize(w)
        return images
    return as_tensor(generator.synthesize(w))


def synthesize_samples(
    generator: LatentGenerator | LatentsSource, sample_ids: np.ndarray, w: np.ndarray
) -> Tensor:
    """Call `generator.synthesize` with every sample at its own place of a batch.

    Returns images uint8 [n, 3, h, w], on the generator's device if it has one. Raises SourceError,
    with the range of samples, if the generator raises one.
    """
    try:
        places = sample_ids % generator.block
        return _run_at_places(
            lambda rows: synthesize_tensors(generator, w[rows]), places, generator.block
        )
    except SourceError as error:
        raise SourceError(
            f"among samples {sample_ids.min()}-{sample_ids.max()}, which are counted by their "
            f"places in blocks of {generator.block}: {error}"
        ) from None


def _run_at_places(
    function: Callable[[np.ndarray], Tensor], places: np.ndarray, size: int
) -> Tensor:
    """Call `function` on batches of exactly `size` rows, with row i at place places[i].

    function: maps the numbers of the rows of a batch, int64 [size], to results of these rows. Empty
    places hold a copy of a row, as zeros are no sample's latent, and their outputs may not be
    finite.
    """
    ranks = _rank_in_group(places)
    results: Tensor | None = None
    for rank in range(ranks.max(initial=0) + 1):
        rows = np.flatnonzero(ranks == rank)
        batch = np.full(size, rows[0])
        batch[places[rows]] = rows
        output = function(batch)
        if results is None:
            results = output.new_empty(len(places), *output.shape[1:])
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
