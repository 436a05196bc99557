"""The usage of a stream: speed of every stage, waiting, bytes, and repeated work."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from raymetrics.distributed.extraction.shard_record import COMMIT, EXTRACT, GENERATE, ShardRecord

STAGES = (GENERATE, EXTRACT, COMMIT)


@dataclass(frozen=True)
class PoolUsage:
    """A pool of actors, the stages that it runs, and the GPUs of all of its actors."""

    stages: tuple[str, ...]
    actors: int
    gpus: float = 0.0


@dataclass
class StreamUsage:
    """The usage of one stream, which fills it in shard by shard.

    seconds: from begin to end, with the time that workers take to start.
    repeated_shards: shards whose worker died. single_sample_batches: batches that were generated
    again one sample after another. store_retries: requests that were sent to the store again.
    left_out: samples. busy_seconds: the working time of all actors of a stage together.
    """

    pools: tuple[PoolUsage, ...] = ()
    seconds: float = 0.0
    rows: int = 0
    shards: int = 0
    bytes_written: int = 0
    repeated_shards: int = 0
    single_sample_batches: int = 0
    store_retries: int = 0
    left_out: int = 0
    busy_seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    _started_at: float | None = None

    def begin(self, pools: Iterable[PoolUsage]) -> None:
        """Begin to measure the time of these pools."""
        self.pools, self._started_at = tuple(pools), time.monotonic()

    def add(self, record: ShardRecord) -> None:
        """Add the record of a shard."""
        self.shards += 1
        self.bytes_written += record.bytes_written
        self.single_sample_batches += record.single_sample_batches
        self.store_retries += record.store_retries
        self.left_out += len(record.left_out)
        self.rows += 0 if record.failure else record.rows - len(record.left_out)
        for stage, seconds in record.seconds.items():
            self.busy_seconds[stage] += seconds
        self._until_now()

    def end(self, repeated_shards: int) -> None:
        """End the measurement. repeated_shards: shards whose worker died."""
        self.repeated_shards = repeated_shards
        self._until_now()

    def _until_now(self) -> None:
        if self._started_at is not None:
            self.seconds = time.monotonic() - self._started_at

    @property
    def gpu_seconds(self) -> float:
        """The time for which GPUs were held, whether they had work or not."""
        return self.seconds * sum(pool.gpus for pool in self.pools)

    def waiting_share(self, pool: PoolUsage) -> float:
        """Return the share of time in which a pool's actors started, or had nothing to do."""
        available = pool.actors * self.seconds
        working = sum(self.busy_seconds[stage] for stage in pool.stages)
        return max(0.0, 1 - working / available) if available else 0.0

    def rate(self, stage: str) -> float:
        """Return the rows per second of one actor while it works; 0 if it did not work."""
        return self.rows / self.busy_seconds[stage] if self.busy_seconds[stage] else 0.0
