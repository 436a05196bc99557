"""Make a shard: generate its samples batch by batch, extract their features, and commit them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, TypeVar

import numpy as np
import pyarrow as pa
import torch

from raymetrics import sample_ranges
from raymetrics.devices.failures import describe_memory, is_device_lost, is_out_of_memory
from raymetrics.devices.transfers import Download, Uploader
from raymetrics.distributed.devices import (
    device_name,
    machine_kind,
    use_deterministic_kernels,
    worker_device,
)
from raymetrics.distributed.extraction.commit import SetWriter, require_few_left_out, top1_classes
from raymetrics.distributed.extraction.generate import (
    SampleGenerator,
    is_thread_safe,
    worker_death_error,
)
from raymetrics.distributed.extraction.planned_shards import PlannedShard
from raymetrics.distributed.extraction.shard_record import COMMIT, EXTRACT, GENERATE, ShardRecord
from raymetrics.distributed.extraction.stream_control import (
    MAX_ATTEMPTS,
    StreamControl,
    run_with_limit,
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
from raymetrics.extractors.base import extract_tensors
from raymetrics.shards import layout, schema
from raymetrics.user_code import without_folders

log = logging.getLogger(__name__)

LOST_DEVICE_EXIT = 70  # the exit status of a worker that ends itself, as it has lost its GPU
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Batch:
    """The samples of a batch, with features on their way from the device."""

    sample_ids: np.ndarray
    labels: np.ndarray | None
    left_out: Mapping[int, str]
    one_by_one: bool
    image_size: tuple[int, int] | None
    features: Download
    made_on: tuple[str, ...]
    seconds: Mapping[str, float]


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
        self._calling_user_code = threading.Lock()
        self._pool = ThreadPoolExecutor(threads)
        try:
            self.upload = Uploader(worker_device())
            self.extractors = run_with_limit(
                control, self._start_name(), partial(_load_extractors, plan), _raise_worker_died
            )
        except RaymetricsError as error:
            self.error = error  # raised by a call; an actor that dies here would be started again
        except torch.OutOfMemoryError as error:
            self.error = InsufficientResources(
                "the extractors do not fit into the GPU beside its other workers "
                f"({str(error).splitlines()[0]}); ask for fewer --actors"
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
                rows, record = run_with_limit(
                    self.control,
                    name,
                    partial(self._compute_safely, record),
                    partial(_raise_samples_died, shard.ids),
                )
            # A worker that dies while it commits may have died of the shard that it computes.
            return run_with_limit(
                self.control,
                f"{COMMIT} {name}",
                partial(self._commit, rows, record),
                partial(_raise_samples_died, shard.ids),
                limit=2 * MAX_ATTEMPTS,
            )
        except TemporaryFailure:
            raise
        except RaymetricsError as error:
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
            if is_device_lost(error):
                self._end_with_device(record, error)
            raise

    def _memory_error(self) -> InsufficientResources:
        return InsufficientResources(
            f"a GPU has no memory for a batch, also after all caches were emptied "
            f"({describe_memory(self.upload.device)}); ask for fewer --actors, for fewer images at "
            "a time in the networks (extractor?block=N, source?block=N), or for two pools "
            "(--split), so that generator and extractors have a GPU each"
        )

    def _end_with_device(self, record: ShardRecord, error: Exception) -> NoReturn:
        """End a process that can never use its GPU again; Ray starts another in its place."""
        words = f"the GPU of this process is lost ({_first_line(error)})"
        if not self.ends_process:
            raise ClusterFailure(f"{words}; run the same command again") from error
        log.error("%s, at samples %s", words, sample_ranges.format_range(record.ids))
        os._exit(LOST_DEVICE_EXIT)

    def _compute(self, record: ShardRecord) -> tuple[pa.Table | None, ShardRecord]:
        """Return the rows of a shard, None if no sample can be made, and what happened."""
        ids = sample_ranges.split_at_multiples(record.ids, self.batch)
        work = partial(self._compute_batch, record.target)
        start = time.monotonic()
        batches, features = [], []
        for batch in _map_ahead(self._pool, work, ids, self.threads):
            batches.append(batch)
            features.append(batch.features.wait())
        waiting = time.monotonic() - start
        record = _merge_batches(record, batches, waiting)
        rows = [number for number, batch in enumerate(batches) if len(batch.sample_ids)]
        if not rows:
            return None, record
        labels = [batches[i].labels for i in rows]
        table = schema.to_table(
            self.plan.targets[record.target].spec.columns,
            np.concatenate([batches[i].sample_ids for i in rows]),
            None if labels[0] is None else np.concatenate(labels),  # type: ignore[arg-type]
            {name: np.concatenate([features[i][name] for i in rows]) for name in features[rows[0]]},
        )
        return table, record

    def _compute_batch(self, target: int, ids: range) -> _Batch:
        """Generate and extract a batch; return without waiting for the device."""
        start = time.monotonic()
        samples = self.generator.generate(target, np.array(ids))
        generated = time.monotonic()
        images = self.upload(samples.images)
        features: dict[str, torch.Tensor] = {}
        if len(images):
            for extractor in self.extractors:
                with nullcontext() if is_thread_safe(extractor) else self._calling_user_code:
                    outputs = extract_tensors(extractor, samples.sample_ids, images)
                for column in schema.make_columns(extractor.name, extractor.columns):
                    features[column.name] = outputs[column.output]
        download = Download.begin(features)
        extracted = time.monotonic()
        return _Batch(
            samples.sample_ids,
            samples.labels,
            samples.left_out,
            samples.one_by_one,
            (images.shape[2], images.shape[3]) if len(images) else None,
            download,
            samples.made_on,
            {GENERATE: generated - start, EXTRACT: extracted - generated},
        )

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


def _merge_batches(record: ShardRecord, batches: Sequence[_Batch], passed: float) -> ShardRecord:
    """Return the record of a shard with what happened to its batches.

    passed: seconds of all batches together, by the clock; with one thread, what the device did
    beyond the calls is time of extraction. Raises SourceError for images of several sizes.
    """
    sizes = sorted({batch.image_size for batch in batches if batch.image_size})
    if len(sizes) > 1:
        sizes_text = " and ".join(f"{height} x {width}" for height, width in sizes)
        raise SourceError(
            f"samples {sample_ranges.format_range(record.ids)} have images of {sizes_text}; give "
            "all of them one size"
        )
    seconds = {s: sum(batch.seconds[s] for batch in batches) for s in (GENERATE, EXTRACT)}
    seconds[EXTRACT] += max(0.0, passed - sum(seconds.values()))
    left_out: dict[int, str] = {}
    for batch in batches:
        left_out.update(batch.left_out)
    machines = {machine for batch in batches for machine in batch.made_on}
    return replace(
        record,
        device=device_name(),
        left_out=left_out,
        seconds=seconds,
        single_sample_batches=sum(batch.one_by_one for batch in batches),
        made_on=sorted({*machines, machine_kind()}),
        image_size=sizes[0] if sizes else None,
    )


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


def _raise_worker_died(times: int) -> NoReturn:
    """Raise ClusterFailure for an actor that ends whenever it starts."""
    raise ClusterFailure(
        f"a worker ended {times} times while it loaded the extractors: its process crashed, was "
        "killed, or the machine had no memory left (Ray's logs say which); with fewer --actors, "
        "run the same command again"
    )


def _raise_samples_died(ids: range, times: int) -> NoReturn:
    """Raise SourceError for samples with which every worker ended."""
    raise worker_death_error(ids, times)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
