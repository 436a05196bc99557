"""The progress of a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.set_in_progress import SetInProgress


@dataclass(frozen=True)
class Progress:
    """The progress of a stream after a shard.

    rows: made in this run, of `rows_to_make`. rate: rows per second from the first shard to this
    one; at the first shard from the start, with the time that workers take to load their models.
    """

    rows: int
    rows_to_make: int
    rows_present: int
    rate: float

    @property
    def seconds_to_go(self) -> float:
        return (self.rows_to_make - self.rows) / self.rate


class ProgressReporter:
    """Reports the progress of several sets as one."""

    def __init__(
        self, datasets: Sequence[SetInProgress], progress: Callable[[Progress], None] | None
    ) -> None:
        self.rows_to_make = sum(sample_ranges.count_ids(dataset.todo) for dataset in datasets)
        self.rows_present = (
            sum(sample_ranges.count_ids(dataset.requested_ranges) for dataset in datasets)
            - self.rows_to_make
        )
        self.progress, self.rate_start = progress, time.monotonic()
        self.rows = self.first_rows = 0

    def __call__(self, rows: int) -> None:
        """Report that so many more rows are made."""
        self.rows += rows
        if self.progress:
            rate = (self.rows - self.first_rows) / (time.monotonic() - self.rate_start)
            self.progress(Progress(self.rows, self.rows_to_make, self.rows_present, rate))
        if not self.first_rows:
            self.first_rows, self.rate_start = self.rows, time.monotonic()
