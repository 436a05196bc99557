"""Make a shard: compute its batches, fetch the features of one meanwhile, and commit them all."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pyarrow as pa
import torch

from raymetrics import sample_ranges
from raymetrics.devices.failures import (
    describe_memory,
    end_process_if_device_lost,
    first_line,
    is_device_lost,
    is_out_of_memory,
)
from raymetrics.devices.transfers import Uploader
from raymetrics.distributed.devices import use_deterministic_kernels, worker_device
from raymetrics.distributed.extraction.batches import compute_batch, describe_batches, join_rows
from raymetrics.distributed.extraction.commit import SetWriter, require_few_left_out, top1_classes
from raymetrics.distributed.extraction.generate import SampleGenerator, worker_death_error
from raymetrics.distributed.extraction.planned_shards import PlannedShard
from raymetrics.distributed.extraction.shard_record import COMMIT, ShardRecord
from raymetrics.distributed.extraction.stream_control import (
    MAX_ATTEMPTS,
    StreamControl,
    TooManyAttempts,
    begin_with_limit,
)
from raymetrics.distributed.extraction.stream_plan import ShardOutcome, StreamPlan
from raymetrics.errors import (
    ClusterFailure,
    ExtractorError,
    InsufficientResources,
    RaymetricsError,
    SourceError,
    TemporaryFailure,
)
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.extractors.base import NetworkExtractor
from raymetrics.extractors.numerics import Numerics
from raymetrics.shards import layout, schema
from raymetrics.user_code import without_folders

_MAX_BATCH = 4096  # images
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ShardMaker:
    """Makes and commits the shards of a plan, one after another.

    Several threads may call it: one computes while others commit.

    generator: generates the samples. threads: how many batches are computed at a time; on a GPU
    one, while the features of the one before are fetched. ends_process: whether a lost GPU ends the
    process, which is then started again by Ray.
    """

    def __init__(
        self,
        plan: StreamPlan,
        generator: SampleGenerator,
        batch: int,
        control: StreamControl,
        threads: int = 1,
        ends_process: bool = True,
    ) -> None:
        use_deterministic_kernels()
        self.plan, self.generator, self.batch = plan, generator, batch
        self.control, self.threads, self.ends_process = control, threads, ends_process
        self.writers: dict[int, SetWriter] = {}
        self.extractors: list[Extractor] = []
        self.error: RaymetricsError | None = None
        self._computing = threading.Lock()
        self._pool = ThreadPoolExecutor(threads)
        try:
            self.upload = Uploader(worker_device())
            begin_with_limit(control, start := self._start_name())
            self.extractors = _load_extractors(plan)
            control.end(start)
        except TooManyAttempts:
            self.error = ClusterFailure(
                f"a worker ended {MAX_ATTEMPTS} times while it loaded the extractors: its process "
                "crashed, was killed, or the machine had no memory left (Ray's logs say which); "
                "with fewer --actors, run the same command again"
            )
        except RaymetricsError as error:
            self.error = error  # raised by a call; an actor that dies here would be started again
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.error = InsufficientResources(
                "the extractors do not fit into the GPU beside its other workers "
                f"({first_line(error)}); ask for fewer --actors"
            )

    def _start_name(self) -> str:
        """Return the name under which the starts of this actor are counted, restarts included."""
        if not self.ends_process:
            return "start"
        import ray

        return f"start {ray.get_runtime_context().get_actor_id()}"

    def __call__(self, shard: PlannedShard) -> ShardOutcome:
        """Make and commit a shard; record its failure in the place of raising it.

        Raises what concerns all shards: extractors that cannot be loaded, a store that does not
        answer.
        """
        if self.error is not None:
            raise self.error
        record = ShardRecord(shard.target, shard.ids.start, len(shard.ids))
        name = f"{shard.target} {shard.ids.start}"
        try:
            with self._computing:
                begin_with_limit(self.control, name)
                with end_process_if_device_lost() if self.ends_process else nullcontext():
                    rows, record = self._compute_safely(record)
                # If the worker dies now, that may be of the shard which it computes meanwhile.
                self.control.halve(name)
            outcome = self._commit(rows, record)
            self.control.end(name)
            return outcome
        except TooManyAttempts:
            error: RaymetricsError = worker_death_error(shard.ids, MAX_ATTEMPTS)
        except TemporaryFailure:
            raise
        except RaymetricsError as failure:
            error = failure
        return ShardOutcome(record.with_failure(error))

    def _compute_safely(self, record: ShardRecord) -> tuple[pa.Table | None, ShardRecord]:
        """Compute a shard; once more if the GPU has no memory, and never again if it is lost."""
        try:
            try:
                return self._compute(record)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            torch.cuda.empty_cache()
            return self._compute(record)
        except Exception as error:
            if is_out_of_memory(error):
                raise self._memory_error() from error
            if is_device_lost(error) and not self.ends_process:
                raise ClusterFailure(
                    f"the GPU of this process was lost ({first_line(error)}) at samples "
                    f"{sample_ranges.format_range(record.ids)}; run the same command again"
                ) from error
            raise

    def _memory_error(self) -> InsufficientResources:
        return InsufficientResources(
            f"a GPU has no memory for a batch, also after all caches were emptied "
            f"({describe_memory(self.upload.device)}); ask for fewer --actors, for fewer images at "
            "a time in the networks (extractor?block=N, source?block=N), or for two pools "
            "(--split), so that generator and extractors have a GPU each"
        )

    def _compute(self, record: ShardRecord) -> tuple[pa.Table | None, ShardRecord]:
        """Return the rows of a shard, None if no sample can be made, and what happened."""
        extractors = self._extractors_for(record.target)
        work = partial(compute_batch, self.generator, extractors, self.upload, record.target)
        ids = sample_ranges.split_at_multiples(record.ids, _whole_blocks(self.batch, extractors))
        start = time.monotonic()
        batches = []
        for batch in _map_ahead(self._pool, work, ids, self.threads):
            batch.features.wait()  # while the next batch is computed
            batches.append(batch)
        record = describe_batches(record, batches, time.monotonic() - start)
        return join_rows(self.plan.targets[record.target].spec.columns, batches), record

    def _extractors_for(self, target: int) -> list[Extractor]:
        """Return the extractors with the numerics of a set; sets of one kind share them."""
        recorded = self.plan.targets[target].spec.numerics
        self.extractors = [_with_numerics(extractor, recorded) for extractor in self.extractors]
        return self.extractors

    def _commit(self, rows: pa.Table | None, record: ShardRecord) -> ShardOutcome:
        """Write the shard; raise SourceError if too many samples are left out."""
        start = time.monotonic()
        require_few_left_out(record.left_out, self.plan.max_left_out)
        if rows is None:
            raise SourceError(
                f"none of the samples {sample_ranges.format_range(record.ids)} can be made, the "
                f"first: {record.left_out[record.first]}"
            )
        writer = self._open_writer(record.target)
        retries = writer.store.retries
        written = writer.commit(rows, record.ids, record.left_out, record.made_on)
        record = replace(
            record,
            bytes_written=written,
            store_retries=writer.store.retries - retries,
            seconds={**record.seconds, COMMIT: time.monotonic() - start},
        )
        logits = self.plan.logits
        return ShardOutcome(
            record, None if logits is None else top1_classes(schema.to_numpy(rows[logits]))
        )

    def _open_writer(self, target: int) -> SetWriter:
        if target not in self.writers:
            destination = self.plan.targets[target]
            self.writers[target] = SetWriter(destination.uri, destination.spec.fingerprint)
        return self.writers[target]


def _map_ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    ahead: int,
) -> Iterator[_Result]:
    """Yield `function(item)` in order, and begin no more than `ahead` items beyond that one."""
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _with_numerics(extractor: Extractor, recorded: Mapping[str, Mapping[str, object]]) -> Extractor:
    """Return an extractor with the numerics that a set has recorded for its name, if any."""
    if not isinstance(extractor, NetworkExtractor) or extractor.name not in recorded:
        return extractor
    numerics = Numerics.from_dict(recorded[extractor.name])
    return extractor if numerics == extractor.numerics else extractor.with_numerics(numerics)


def _whole_blocks(batch: int, extractors: Sequence[Extractor]) -> int:
    """Return a batch of whole blocks of all extractors, as a part of one takes as long as all."""
    block = math.lcm(*[extractor.block for extractor in extractors])
    return -(-batch // block) * block if block <= _MAX_BATCH else batch


def _load_extractors(plan: StreamPlan) -> list[Extractor]:
    """Load the extractors. Raises ExtractorError if one differs from that of the driver."""
    if plan.loaded and worker_device().type == "cpu":
        return list(plan.loaded)
    texts, expected = plan.extractors
    extractors = [make_extractor(text, worker_device()) for text in texts]
    for extractor, spec in zip(extractors, expected, strict=True):
        fields = layout.differences(without_folders(extractor.spec), without_folders(spec))
        if fields:
            raise ExtractorError(
                f"{extractor.name} on a worker is not what it is on the driver "
                f"({'; '.join(fields)}); bring code and weights in line on all machines and run "
                "the command again"
            )
    return extractors
