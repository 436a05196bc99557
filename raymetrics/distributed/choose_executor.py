"""Decide whether work runs in this process or on Ray.

The start of Ray and the imports of its workers take half a minute of a small machine, so a small
job is done sooner without them. The features and numbers have the same bits either way.
"""

from __future__ import annotations

import logging
import os

from raymetrics.distributed.session import is_executor_set, ray_is_running

log = logging.getLogger(__name__)

# Samples that one process extracts: with all cores, or with one, where a generator or an extractor
# is not safe in several threads.
SMALL_ROWS = 5_000
SMALL_ROWS_ONE_THREAD = 1_000
SMALL_FEATURE_BYTES = 2_000_000_000  # of features that one process reads for numbers


def runs_in_process(local: bool | None, *, small: bool, work: str) -> bool:
    """Return whether work is to run in this process, and log a line if that was chosen here.

    local: what the user asked for; None: choose. small: whether the work is. work: the work in
    words, for the line: "500 samples"; "" for no line. A Ray that runs already, and a cluster that
    RAY_ADDRESS names, are used for small work too; and so is what `set_executor` says.
    """
    if local is not None:
        return local
    has_cluster = os.environ.get("RAY_ADDRESS", "local") != "local"
    if is_executor_set() or not small or ray_is_running() or has_cluster:
        return False
    if work:
        log.info("%s: in this process, without Ray", work)
    return True


def is_small_extraction(rows: int, *, thread_safe: bool) -> bool:
    """Return whether one process extracts so many samples sooner than workers of Ray would.

    A process uses one GPU of a machine that has several.
    """
    if rows > (SMALL_ROWS if thread_safe else SMALL_ROWS_ONE_THREAD):
        return False
    import torch

    return torch.cuda.device_count() <= 1
