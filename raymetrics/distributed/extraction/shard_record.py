"""What happened to the samples of a shard: the small record that a worker sends to the driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from raymetrics import errors
from raymetrics.errors import RaymetricsError

GENERATE, EXTRACT, COMMIT = "generate", "extract", "commit"  # the stages


@dataclass(frozen=True)
class ShardRecord:
    """The samples of a shard, and what happened to them.

    target: the number of the set in the plan. first, rows: the planned samples.
    left_out: the samples that could not be made, and why; the others were made.
    failure: kind and message of the error because of which no sample was made.
    seconds: the working time of each stage, without waiting; of all threads together.
    single_sample_batches: batches that were generated again one sample after another.
    store_retries: requests that were sent to the store again.
    bytes_written: 0 if the shard existed already.
    made_on: kinds of machine. image_size: height and width, None where no image was made.
    """

    target: int
    first: int
    rows: int
    device: str = "unknown"
    left_out: Mapping[int, str] = field(default_factory=dict)
    failure: tuple[str, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    single_sample_batches: int = 0
    store_retries: int = 0
    bytes_written: int = 0
    made_on: Sequence[str] = ()
    image_size: tuple[int, int] | None = None

    @property
    def ids(self) -> range:
        """The planned samples."""
        return range(self.first, self.first + self.rows)

    def with_failure(self, error: RaymetricsError) -> ShardRecord:
        """Return a copy that says that no sample could be made, and why."""
        return replace(self, failure=(type(error).__name__, error.message))

    def error(self) -> RaymetricsError | None:
        """Return the failure as an exception of the kind that was raised; None without one."""
        if self.failure is None:
            return None
        kind, message = self.failure
        raised: RaymetricsError = getattr(errors, kind, RaymetricsError)(message)
        return raised
