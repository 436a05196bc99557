"""The snapshots of a training run: a sweep over those that are there, and over those that come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Unpack

from raymetrics.generators.snapshot_files import SnapshotWatch
from raymetrics.python_arguments import as_texts
from raymetrics.shards.shard_set import ShardSet
from raymetrics.studies.sweep import SweepOptions, SweepOutcome, sweep


def snapshots(
    *,
    real: str | ShardSet,
    generated: str | Sequence[str],
    to: str,
    watch: float | None = None,
    until: int | None = None,
    tell: Callable[[SweepOutcome], None] = lambda outcome: None,
    **options: Unpack[SweepOptions],
) -> SweepOutcome:
    """Measure the snapshots of a training run.

    real: a complete shard set, or some of its samples.
    generated: a folder of networks, a pattern such as "runs/*.pkl", a source such as
    "digits?snapshot={50,100}", or several of these.
    to: where the numbers of every snapshot are kept, and by default the shards.
    watch: look again after so many seconds, and measure the files that have come and no longer
    grow. A snapshot that failed is tried again when its file has changed.
    until: with watch, return when so many snapshots have numbers; by default never.
    tell: called with the numbers of all snapshots so far, whenever there are new ones.
    options: the other arguments of `sweep`.

    Run again after anything that stopped it: what is there is not measured twice. Raises
    SourceError if there is no snapshot and watch is None, and what `sweep` does.
    """
    watcher, outcome = SnapshotWatch(as_texts(generated)), SweepOutcome()
    while True:
        new_sources = watcher.poll(settled=watch is not None)
        if new_sources:
            outcome = outcome.merge(sweep(new_sources, real=real, to=to, **options))
            tell(outcome)
        if watch is None or (until and len(outcome.results_by_row) >= until):
            return outcome
        time.sleep(watch)
