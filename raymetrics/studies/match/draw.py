"""Top-1 histogram matching by rejection: draws until every bin of the real histogram is full.

Kynkaanniemi et al. (2023), The Role of ImageNet Classes in Frechet Inception Distance, section 3.1.
Samples are decided on the driver in the order of their ids, so the accepted ones are the same
for any number of workers, any batch, and after anything that stopped a run. Shards that are there
are read; then the draw goes on, in one stream that is let in shard by shard.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from raymetrics.attacks.top1_rejection import Matcher, expected_draws, require_full, target_counts
from raymetrics.distributed.choose_executor import is_small_extraction, runs_in_process
from raymetrics.distributed.extraction.dataset_request import require_shard_rows
from raymetrics.distributed.extraction.numerics import NumericsRecorder
from raymetrics.distributed.extraction.planned_shards import ShardSequence
from raymetrics.distributed.extraction.stream_plan import SetToMake, ShardOutcome
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.nodes import plan_cluster_placement
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import SampleRangeError
from raymetrics.generators import quick_fingerprint
from raymetrics.generators.base import device_block
from raymetrics.shards import layout
from raymetrics.shards.comparability import require_same_size
from raymetrics.shards.overlaps import join_overlapping
from raymetrics.shards.seal import seal_expected, seal_holds, seal_set
from raymetrics.shards.shard_files import all_shard_ranges
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.view import View
from raymetrics.statistics import ColumnStatistic
from raymetrics.statistics.class_histogram import Histogram
from raymetrics.studies.match.accepted_file import (
    ACCEPTED_FILE,
    remove_stale_file,
    request_record,
    write_accepted,
)
from raymetrics.studies.match.candidate_stream import CandidateStream
from raymetrics.studies.match.request import MatchRequest, make_match_request
from raymetrics.studies.match.result import MatchProgress, MatchResult, OpenBin
from raymetrics.studies.match.shard_classes import ShardClasses

_RAREST_SHOWN = 3  # bins that a progress report names
_RECORD_SECONDS = 2  # at least between two changes of dataset.json, which a shard need not wait for


def draw_matched(
    *,
    real: str | View,
    generated: str,
    to: str,
    shards: str | None = None,
    extractors: Sequence[str] = (),
    classes: str | None = None,
    n: int = 50_000,
    max_draws: int | None = None,
    on_unfilled: str = "stop",
    first: int | None = None,
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[MatchProgress], None] | None = None,
) -> MatchResult:
    """Draw into a shard set until n accepted samples have the classes of the real set.

    This is the first half of `raymetrics.studies.match.study.match`, which adds the numbers.

    real: a complete shard set, or some of its samples as "SHARDS?ids=FILE".
    generated: a shard set, which is drawn on into with its own source; or a source, whose shards
    go to `shards`, by default "TO/shards", with the extractors of the real set unless others are
    given.
    to: a folder or a prefix, for accepted.parquet, which is written last; one of another match is
    removed first.
    classes: the column of logits that gives the classes; by default inception's, or the only one.
    max_draws: the most samples to look at, counted from the first; a data set ends by itself.
    on_unfilled: what to do then with bins that are not full: "stop" with a part that says so, or
    "fail" without accepted.parquet; the shards stay.
    first: the first id looked at; by default the set's first, or 0.
    run_code: open what a shard set names also if it is a program, or on another machine.
    any_size: also of images of another size than the real ones.

    Raises SourceError, ExtractorError, SampleRangeError, ShardError, StorageError; SpecMismatch for
    sets that cannot be compared; ProgramRefused without run_code; NotEnoughData if bins stay empty
    and `on_unfilled` is "fail".
    """
    minimums = {"n": (n, 1), "max_draws": (max_draws, 1), "first": (first, 0)}
    for name, (value, minimum) in minimums.items():
        if value is not None and value < minimum:
            raise SampleRangeError(f"{name} is {value}, expected at least {minimum}")
    require_shard_rows(shard_rows)
    if on_unfilled not in ("stop", "fail"):
        raise SampleRangeError(f"on_unfilled is {on_unfilled!r}, expected stop or fail")
    request = make_match_request(
        real,
        generated,
        to,
        shards,
        extractors,
        classes,
        n,
        max_draws,
        first,
        shard_rows,
        run_code,
        any_size,
    )
    start, path = time.monotonic(), f"{to}/{ACCEPTED_FILE}"
    resources = resources or Resources()
    small = is_small_extraction(n if max_draws is None else max_draws, thread_safe=False)
    with session(local=runs_in_process(resources.in_process, small=small, work=f"{n} draws")):
        run = _MatchRun(request, max_draws, resources, progress)
        remove_stale_file(path, request_record(request, run.spec))
        run.draw()
    sealed_set = _seal_match(request, run)
    if on_unfilled == "fail":
        require_full(run.matcher, run.class_names)
    accepted = np.concatenate(run.accepted)
    write_accepted(path, request, sealed_set, run.matcher, accepted)
    return MatchResult(
        path,
        sealed_set,
        request.column.name,
        run.class_names,
        accepted[:, 0],
        accepted[:, 1],
        run.matcher,
        request.first,
        run.shards_made,
        time.monotonic() - start,
    )


class _MatchRun:
    """One run of a match; needs a session."""

    def __init__(
        self,
        request: MatchRequest,
        max_draws: int | None,
        resources: Resources,
        progress: Callable[[MatchProgress], None] | None,
    ) -> None:
        self.request, self.progress = request, progress
        column = request.column
        self.class_names = request.real.shards.spec.class_names.get(column.extractor, ())
        self.matcher = Matcher(target_counts(_real_histogram(request), request.n), max_draws)
        self.spec, present = layout.open_for_writing(
            request.store, request.dataset_spec, request.names
        )
        recorder = NumericsRecorder(request.networks, self.spec.extractor_texts, resources)
        self.spec = recorder.record(
            request.store, self.spec, device_block(request.generator), has_shards=bool(present)
        )
        self.shard_sequence = ShardSequence(
            request.first, request.stop, tuple(present), self.spec.shard_rows
        )
        self.target = SetToMake(
            self.spec,
            quick_fingerprint(request.generator),
            (),
            request.store.absolute_uri,
            request.extractors,
        )
        self.resources = resources
        self.actors = plan_cluster_placement(resources, sys.maxsize).workers.actors
        self.accepted: list[np.ndarray] = [np.empty((0, 2), np.int64)]  # sample id, class
        self.devices: set[str] = set()
        self.files = {*all_shard_ranges(request.names), *present}
        self.shards_made = self._rows = self._rows_before = 0
        self._since = time.monotonic()
        self._unrecorded: list[range] = []
        self._next_record = 0.0

    def draw(self) -> None:
        """Draw until every bin is full, or until there is nothing more to look at."""
        column = self.request.column.name
        with CandidateStream(self.shard_sequence, self.target, column, self.resources) as stream:
            while not self.matcher.is_finished:
                draws = stream.next_shard(self.window())
                if draws is None:
                    break
                self.decide(draws)
                if self.progress:
                    self.progress(self.current_progress())
            for outcome in stream.drain():
                if outcome.record.failure is None:  # what nobody needs may fail
                    self.decide(outcome)
        if self._unrecorded:
            self._record_samples(self.spec.image_size)

    def window(self) -> int:
        """Return how many shards may be made at a time.

        Enough to keep every actor busy, but about as many as the rarest bin still needs at most.
        """
        rows = self.spec.shard_rows
        # An actor begins a shard while it commits another; as many wait for one of lower ids.
        most = 2 + 4 * self.actors
        needed = float(expected_draws(self.matcher).max())
        return most if needed > most * rows else max(1, math.ceil(needed / rows))

    def decide(self, shard: ShardClasses | ShardOutcome) -> None:
        """Accept or reject a shard's samples."""
        draws = self._adopt_shard(shard) if isinstance(shard, ShardOutcome) else shard
        new = draws.sample_ids >= self.request.first
        ids, classes = draws.sample_ids[new], draws.classes[new]
        chosen = self.matcher.accept(classes)
        self.accepted.append(np.stack([ids[chosen], classes[chosen]], axis=1))

    def _adopt_shard(self, outcome: ShardOutcome) -> ShardClasses:
        """Add a shard of this run to the set, and return its classes."""
        self._unrecorded.append(outcome.ids)
        if self.spec.image_size is None or time.monotonic() >= self._next_record:
            self._record_samples(self.spec.image_size or outcome.record.image_size)
        if not self.request.any_size:
            drawn_set = ShardSet(self.request.store, self.spec, ())
            require_same_size(self.request.real.shards, drawn_set)
        self.devices.add(outcome.record.device)
        self.files.add(outcome.ids)
        self.shards_made += outcome.newly_made
        self._rows += outcome.rows
        if not self._rows_before:
            self._rows_before, self._since = self._rows, time.monotonic()
        assert outcome.classes is not None
        return ShardClasses(outcome.ids, np.array(outcome.ids), outcome.classes)

    def _record_samples(self, image_size: tuple[int, int] | None) -> None:
        """Ask in dataset.json for the shards that came since this was last called.

        A run that is killed before leaves shards that are not asked for; `_seal_match` adds them.
        """
        spec = replace(self.spec, image_size=image_size)
        self.spec = layout.add_samples(self.request.store, spec, self._unrecorded)
        self._unrecorded.clear()
        self._next_record = time.monotonic() + _RECORD_SECONDS

    def current_progress(self) -> MatchProgress:
        """Return how far the match is."""
        matcher, needed = self.matcher, expected_draws(self.matcher)
        order = sorted(matcher.unfilled_classes.tolist(), key=lambda c: -needed[c])[:_RAREST_SHOWN]
        names, filled = self.class_names, matcher.accepted_counts
        rarest = tuple(
            OpenBin(
                c,
                names[c] if c < len(names) else "",
                int(filled[c]),
                int(matcher.targets[c]),
                float(needed[c]),
            )
            for c in order
        )
        bins = int(np.count_nonzero(matcher.targets))
        full = bins - len(matcher.unfilled_classes)
        seconds = time.monotonic() - self._since
        rate = (self._rows - self._rows_before) / seconds if self._rows_before else 0.0
        accepted, n = int(filled.sum()), self.request.n
        return MatchProgress(full, bins, accepted, n, matcher.total_draws, rate, rarest)


def _real_histogram(request: MatchRequest) -> np.ndarray:
    """Compute the Top-1 histogram of the real samples, int64 [classes]."""
    measure = ColumnStatistic(
        request.column.name, lambda _ids, logits: Histogram.from_samples(logits)
    )
    statistics = fold_shards(request.real, {"top1": measure})
    counts: np.ndarray = statistics["top1"].counts if statistics else np.zeros(1, np.int64)
    return counts


def _seal_match(request: MatchRequest, run: _MatchRun) -> ShardSet:
    """Return the set with all shards that were made, sealed if it is complete."""
    devices = sorted(run.devices)
    if run.shards_made:
        seal_expected(request.store, run.files, (), devices)
    # A run that was killed may have left shards that dataset.json does not ask for yet.
    shards = open_shards(request.store.uri)
    begun_ranges = [ids for ids in shards.present if ids.start >= request.first]
    spec = layout.add_samples(request.store, run.spec, begun_ranges)
    shards = join_overlapping(replace(shards, spec=spec))
    return shards if shards.missing or seal_holds(shards) else seal_set(shards, devices)
