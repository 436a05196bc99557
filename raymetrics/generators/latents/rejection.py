"""Rejection: candidates of a sample are tried in their order, and the first that is fine is it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from raymetrics.errors import SourceError
from raymetrics.generators.base import LatentGenerator
from raymetrics.generators.latents.latent_batches import map_at_places
from raymetrics.generators.latents.random_streams import Purpose, sample_stream

# With a thousandth of all accepted, one sample in 10^43 would find none among so many.
MAX_CANDIDATES = 100_000
# Candidates at a time, of all samples together.
_ROWS_AT_ONCE = 2**14


class SampleCandidates:
    """Further latents of samples, each from its sample's own stream and of its sample's class."""

    def __init__(self, generator: LatentGenerator, sample_ids: np.ndarray) -> None:
        self.generator, self.sample_ids = generator, sample_ids
        self.labels = generator.labels(sample_ids)
        self.z_size = generator.draw(sample_ids[:1]).shape[1]
        self.streams: dict[int, np.random.RandomState] = {}

    def __call__(self, rows: np.ndarray, first: int, count: int) -> np.ndarray:
        """The next `count` of these rows' samples, w float32 [rows, count, w].

        first: the number of the first of them, the same for all rows; 1 in the first call, and
        what follows on in every other. Candidate c of sample k sits at place k + c, modulo the
        block, so that a single sample's candidates fill blocks too.
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
    """w float32 [n, w], every sample's candidate 0 -> the first candidate that is accepted.

    accepts: w [n, w] -> bool [n]. candidates: see `Candidates`. Every round tries twice as many
    as before, so that a rare one is found in few rounds. SourceError if none of `MOST` is accepted.
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
