"""What a stream used, added up and in words."""

from __future__ import annotations

import pytest

from raymetrics.distributed.extraction.shard_record import ShardRecord
from raymetrics.distributed.extraction.usage import PoolUsage, StreamUsage
from raymetrics.reports.terminal import format_usage


def test_what_a_stream_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("raymetrics.distributed.extraction.usage.time.monotonic", lambda: now)
    spent = StreamUsage()
    assert format_usage(spent) == ""
    spent.begin([PoolUsage(("generate", "extract"), 2, gpus=1.5), PoolUsage(("commit",), 1)])
    now = 110.0
    seconds = {"generate": 4.0, "extract": 8.0, "commit": 1.0}
    spent.add(
        ShardRecord(
            0,
            0,
            100,
            seconds=seconds,
            bytes_written=5_000_000,
            single_sample_batches=1,
            store_retries=2,
        )
    )
    spent.add(
        ShardRecord(0, 100, 100, left_out={150: "why"}, seconds=seconds, bytes_written=5_000_000)
    )
    failed = ShardRecord(0, 200, 100, failure=("SourceError", "why"), seconds={"generate": 2.0})
    now = 120.0
    spent.add(failed)
    spent.end(repeated_shards=3)
    assert (spent.rows, spent.shards, spent.left_out, spent.seconds) == (199, 3, 1, 20.0)
    assert spent.rate("extract") == 199 / 16
    assert spent.gpu_seconds == 1.5 * 20
    assert spent.waiting_share(spent.pools[0]) == 1 - 26 / 40
    assert format_usage(spent).splitlines() == [
        "generate  19.9 rows/s in each worker, 10 s",
        "extract   12.4 rows/s in each worker, 16 s",
        "commit    99.5 rows/s in each worker, 2 s, 10.0 MB in 3 shards",
        "waiting   35 % of 2 workers (generate, extract), 90 % of 1 worker (commit); 20 s in all",
        "again     3 shards after their worker died, 1 batches one sample at a time, "
        "2 requests to the store",
        "left out  1 samples, see raymetrics inspect",
        "GPUs      30 GPU-seconds held",
    ]
