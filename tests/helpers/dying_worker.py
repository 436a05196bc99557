"""Define a worker that holds candidates and dies, for tests of the recovery."""

from __future__ import annotations

import os
from pathlib import Path

from raymetrics.distributed import partition_workers, partitioned_features
from raymetrics.distributed.partitioned_features import A, PartitionMethod, R


class DyingWorker(partition_workers.SingleThreadWorker):
    """A worker whose process ends in its third pass, once for every set."""

    passes = 0

    def call(self, method: PartitionMethod[A, R], index: int, argument: A) -> R:
        flag = Path(self.candidates.uri) / "died"
        self.passes += method == partitioned_features.PartitionWorker.moments
        if self.passes == 3 and not flag.exists():
            flag.touch()
            os._exit(1)
        return super().call(method, index, argument)
