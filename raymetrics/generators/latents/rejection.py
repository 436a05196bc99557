"""Reject latents: try a sample's candidates in order, and take the first that is accepted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import LatentGenerator
from raymetrics.generators.latents.latent_batches import map_at_places
from raymetrics.generators.latents.random_streams import Purpose, sample_stream

# If a thousandth of all latents is accepted, one sample in 10^43 has none among so many candidates.
MAX_CANDIDATES = 100_000
_ROWS_AT_ONCE = 2**14  # candidates of all samples together in one batch


class SampleCandidates:
    """The candidates of samples: further latents, from the sample's own stream and class."""

    def __init__(self, generator: LatentGenerator, sample_ids: np.ndarray) -> None:
        self.generator, self.sample_ids = generator, sample_ids
        self.labels = generator.labels(sample_ids)
        self.z_size = generator.draw(sample_ids[:1]).shape[1]
        self.streams: dict[int, np.random.RandomState] = {}

    def __call__(self, rows: np.ndarray, first: int, count: int) -> np.ndarray:
        """Compute the next `count` candidates of the samples in these rows, w float32
        [rows, count, w].

        first: the number of the first of these candidates, the same for all rows: 1 in the first
        call, and then the number after the last candidate. Candidate c of sample k is computed at
        place k + c, modulo the batch size, so that the candidates of a single sample fill batches
        too.
        """
        z = np.stack([self._stream(row).randn(count, self.z_size) for row in rows.tolist()])
        places = (self.sample_ids[rows, None] + first + np.arange(count)) % self.generator.block
        labels = None if self.labels is None else np.repeat(self.labels[rows], count)
        flat = z.reshape(-1, self.z_size).astype(np.float32)
        w = map_at_places(self.generator, places.ravel(), flat, labels)
        return w.reshape(len(rows), count, -1)

    def _stream(self, row: int) -> np.random.RandomState:
        if row not in self.streams:
            self.streams[row] = sample_stream(int(self.sample_ids[row]), Purpose.CANDIDATES)
        return self.streams[row]


def first_accepted(
    w: np.ndarray,
    accepts: Callable[[np.ndarray], np.ndarray],
    candidates: Callable[[np.ndarray, int, int], np.ndarray],
) -> np.ndarray:
    """Return the first accepted candidate of each sample, float32 [n, w].

    w: candidate 0 of each sample, float32 [n, w]. accepts: maps w [n, w] to bool [n].
    candidates: computes further ones, see `SampleCandidates`. Each round tries as many candidates
    as all rounds before, so that few rounds are needed. Raises SourceError if none of
    `MAX_CANDIDATES` candidates of a sample is accepted.
    """
    accepted_w = w.copy()
    open_rows, tried = np.flatnonzero(~accepts(w)), 1
    while len(open_rows):
        if tried >= MAX_CANDIDATES:
            raise SourceError(
                f"none of {tried} latents of a sample is accepted; truncate less, by an amount of "
                "0.01 or more, or by clamp, which rejects none"
            )
        count = max(1, min(tried, _ROWS_AT_ONCE // len(open_rows), MAX_CANDIDATES - tried))
        more = candidates(open_rows, tried, count)
        fine = accepts(more.reshape(-1, w.shape[1])).reshape(len(open_rows), count)
        done = fine.any(axis=1)
        accepted_w[open_rows[done]] = more[done, fine[done].argmax(axis=1)]
        open_rows, tried = open_rows[~done], tried + count
    return accepted_w
