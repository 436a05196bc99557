"""Define a worker that holds candidates and dies, for tests of the recovery."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from raymetrics.distributed import partition_workers
from raymetrics.statistics import WeightedMoments


class DyingWorker(partition_workers.SingleThreadWorker):
    """A worker whose process ends in its third pass, once for every set."""

    passes = 0

    def moments(self, place: int, weights: np.ndarray) -> WeightedMoments:
        flag = Path(self.candidates.uri) / "died"
        self.passes += 1
        if self.passes == 3 and not flag.exists():
            flag.touch()
            os._exit(1)
        return super().moments(place, weights)
