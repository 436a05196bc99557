"""The stages that generate and extract; a worker runs one stage, one unit at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import torch

from raymetrics import sample_ranges
from raymetrics.distributed.devices import (
    device_name,
    machine_kind,
    use_deterministic_kernels,
    worker_device,
)
from raymetrics.distributed.extraction.commit_stage import (
    PADDING_ID,
    RECORD_COLUMN,
    TARGET,
    encode_unit,
)
from raymetrics.distributed.extraction.generate_with_retry import (
    GeneratedSamples,
    generate_samples,
)
from raymetrics.distributed.extraction.retry_limit import run_with_limit
from raymetrics.distributed.extraction.unit_record import EXTRACT, GENERATE, UnitRecord
from raymetrics.errors import (
    ClusterFailure,
    ExtractorError,
    RaymetricsError,
    SourceError,
    TemporaryFailure,
)
from raymetrics.extractors import Extractor, make_extractor
from raymetrics.fixed_batches import run_in_fixed_batches
from raymetrics.generators import Generator, open_source, quick_fingerprint
from raymetrics.shards import layout, schema
from raymetrics.shards.schema import Column
from raymetrics.user_code import without_folders

_IMAGE = "image"


class Generate:
    """A stage from units to images.

    Returns {"record", "sample_id" int64 [1, n], "image" uint8 [1, n, 3, h, w], "label" int64
    [1, n]}, or {"record"} alone for a unit without samples. One row holds a whole unit, as
    everywhere in the stream.

    sources: the source of every target, with the quick fingerprint of its generator; one generator
    is held at a time. attempt_counter: counts how often a unit ends its worker.
    """

    def __init__(self, sources: Sequence[tuple[str, str]], attempt_counter: Any = None) -> None:
        use_deterministic_kernels()
        self.sources, self.attempt_counter = sources, attempt_counter
        self.target: int | None = None
        self.generator_or_error: Generator | RaymetricsError | None = None
        self._lock = threading.Lock()

    def __call__(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Generate a unit {"target" [1], "first" [1], "rows" [1]}; pass padding on as padding."""
        record = _new_record(unit)
        if record is None:
            return {RECORD_COLUMN: np.array([""])}
        name = f"{GENERATE} {record.target} {record.first}"
        return run_with_limit(
            self.attempt_counter,
            name,
            lambda: self.make(record),
            lambda n: _encode_record(_record_worker_deaths(record, n)),
        )

    def make(self, record: UnitRecord) -> dict[str, np.ndarray]:
        """Generate the unit's samples; record a failure in the place of raising it."""
        start = time.monotonic()
        try:
            samples = self._generate(record)
        except TemporaryFailure:
            raise
        except RaymetricsError as error:
            return _encode_record(record.with_failure(error))
        record = replace(
            record,
            left_out=samples.left_out,
            single_sample_units=int(samples.one_by_one),
            made_on=(machine_kind(),),
            image_size=_image_size(samples.images),
        )
        output = _encode_record(record.with_time(GENERATE, time.monotonic() - start))
        if len(samples.sample_ids):
            output |= {schema.SAMPLE_ID: samples.sample_ids[None], _IMAGE: samples.images[None]}
            if samples.labels is not None:
                output[schema.LABEL] = samples.labels[None]
        return output

    def _generate(self, record: UnitRecord) -> GeneratedSamples:
        """Generate in several threads at a time, if the generator allows it."""
        ids = np.array(record.ids)
        with self._lock:
            generator = self._open_generator(record.target)
            if not is_thread_safe(generator):
                return generate_samples(generator, ids)
        return generate_samples(generator, ids)

    def _open_generator(self, target: int) -> Generator:
        """Return the generator of this target, or raise the error with which it was opened.

        The generator of the target before is released first, as it takes memory.
        """
        if target != self.target:
            self.generator_or_error = None
            try:
                self.generator_or_error = open_verified_generator(*self.sources[target])
            except TemporaryFailure:
                raise
            except RaymetricsError as error:
                self.generator_or_error = error
            self.target = target
        if isinstance(self.generator_or_error, RaymetricsError):
            raise self.generator_or_error
        assert self.generator_or_error is not None
        return self.generator_or_error


class Extract:
    """A stage from the images of `Generate` to the rows of a shard, see `encode_unit`.

    loaded: the extractors on the CPU, if they are loaded already in this process.
    """

    def __init__(
        self,
        texts: Sequence[str],
        expected: Sequence[Mapping[str, object]],
        attempt_counter: Any = None,
        loaded: Sequence[Extractor] = (),
    ) -> None:
        use_deterministic_kernels()
        self._lock = threading.Lock()
        self.attempt_counter = attempt_counter
        self.extractors: list[Extractor] = []
        self.error: RaymetricsError | None = None
        try:
            self.extractors = run_with_limit(
                attempt_counter,
                _start_key(attempt_counter),
                lambda: _load_verified_extractors(texts, expected, loaded),
                _raise_worker_died,
            )
        except RaymetricsError as error:
            self.error = error  # raised by a call; an actor that dies here would be started again
        except torch.OutOfMemoryError as error:
            self.error = ExtractorError(
                "the extractors do not fit into the GPU beside its other workers "
                f"({str(error).splitlines()[0]}); ask for fewer --actors"
            )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """Extract a unit that `Generate` returned."""
        record = decode_record(unit)
        if record is None:
            return encode_unit(None)
        name = f"{EXTRACT} {record.target} {record.first}"
        return run_with_limit(
            self.attempt_counter,
            name,
            lambda: self.make(unit),
            lambda times: encode_unit(None, _record_worker_deaths(record, times)),
        )

    def make(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """Extract the features of the unit's samples; record a failure of these samples."""
        if self.error is not None:
            raise self.error
        record = decode_record(unit)
        if record is None or schema.SAMPLE_ID not in unit:
            return encode_unit(None, record)
        start = time.monotonic()
        try:
            table = self._features(unit)
        except TemporaryFailure:
            raise
        except RaymetricsError as error:
            return encode_unit(None, record.with_failure(error))
        machines = sorted({*record.made_on, machine_kind()})
        record = replace(record, device=device_name(), made_on=machines)
        return encode_unit(table, record.with_time(EXTRACT, time.monotonic() - start))

    def _features(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        sample_ids, images = unit[schema.SAMPLE_ID][0], unit[_IMAGE][0]
        labels = unit[schema.LABEL][0] if schema.LABEL in unit else None
        columns: list[Column] = []
        features = {}
        for extractor in self.extractors:
            with nullcontext() if is_thread_safe(extractor) else self._lock:
                outputs = run_in_fixed_batches(extractor, sample_ids, images, extractor.block)
            for column in schema.make_columns(extractor.name, extractor.columns):
                columns.append(column)
                features[column.name] = outputs[column.output]
        return schema.to_table(columns, sample_ids, labels, features)


class GenerateAndExtract:
    """Both stages in one worker, so that images never leave it."""

    def __init__(
        self,
        sources: Sequence[tuple[str, str]],
        extractors: tuple[Sequence[str], Sequence[Mapping[str, object]]],
        attempt_counter: Any = None,
        loaded: Sequence[Extractor] = (),
    ) -> None:
        self.generate = Generate(sources)
        self.extract = Extract(*extractors, attempt_counter, loaded)
        self.attempt_counter = attempt_counter

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """Generate and extract a unit {"target" [1], "first" [1], "rows" [1]}."""
        record = _new_record(unit)
        if record is None:
            return encode_unit(None)
        return run_with_limit(
            self.attempt_counter,
            f"{record.target} {record.first}",
            lambda: self.extract.make(self.generate.make(record)),
            lambda times: encode_unit(None, _record_worker_deaths(record, times)),
        )


def _new_record(unit: Mapping[str, np.ndarray]) -> UnitRecord | None:
    """Return a new record of a unit; None for padding."""
    first, rows, target = (int(unit[name][0]) for name in ("first", "rows", TARGET))
    return None if first == PADDING_ID else UnitRecord(target, first, rows)


def _image_size(images: np.ndarray) -> tuple[int, int] | None:
    """Return height and width of images [n, 3, h, w]; None if n is 0."""
    return (images.shape[2], images.shape[3]) if len(images) else None


def _encode_record(record: UnitRecord) -> dict[str, np.ndarray]:
    """Return a unit that holds only its record."""
    return {RECORD_COLUMN: np.array([record.to_json()])}


def decode_record(unit: Mapping[str, np.ndarray]) -> UnitRecord | None:
    """Return the record of a unit; None for padding."""
    text = str(unit[RECORD_COLUMN][0])
    return UnitRecord.from_json(text) if text else None


def _record_worker_deaths(record: UnitRecord, times: int) -> UnitRecord:
    """Record that every attempt at a unit ended its worker."""
    return record.with_failure(
        SourceError(
            f"samples {sample_ranges.format_range(record.ids)} ended their worker "
            f"{times} times, and are not "
            "begun again: the process crashed in native code, was killed, or the machine had no "
            "memory left (Ray's logs say which); try a smaller --batch or other samples; if it was "
            "machines that were lost, run the same command again"
        )
    )


def _start_key(attempt_counter: Any) -> str:
    """Return the key under which the starts of this actor are counted, restarts included."""
    import ray

    return "" if attempt_counter is None else f"start {ray.get_runtime_context().get_actor_id()}"


def _raise_worker_died(times: int) -> NoReturn:
    """Raise ClusterFailure for an actor that ends whenever it starts."""
    raise ClusterFailure(
        f"a worker ended {times} times while it loaded the extractors: its process crashed, was "
        "killed, or the machine had no memory left (Ray's logs say which); with fewer --actors, "
        "run the same command again"
    )


def is_thread_safe(model: object) -> bool:
    """Return whether several threads may call a generator or an extractor at a time.

    Code of the user may not: it may seed the random numbers that all threads share.
    """
    return bool(getattr(model, "thread_safe", False))


def _load_verified_extractors(
    texts: Sequence[str],
    expected: Sequence[Mapping[str, object]],
    loaded: Sequence[Extractor] = (),
) -> list[Extractor]:
    """Load the extractors. Raises ExtractorError if one differs from that of the driver."""
    if loaded and worker_device().type == "cpu":
        return list(loaded)
    extractors = [make_extractor(text, worker_device()) for text in texts]
    for extractor, spec in zip(extractors, expected, strict=True):
        fields = layout.differences(without_folders(extractor.spec), without_folders(spec))
        if fields:
            raise ExtractorError(
                f"{extractor.name} on a worker is not what it is on the driver "
                f"({'; '.join(fields)}); bring code and "
                "weights in line on all machines and run the command again"
            )
    return extractors


def open_verified_generator(source: str, expected: str) -> Generator:
    """Open the generator. Raises SourceError if its quick fingerprint is not the expected one."""
    generator = open_source(source, worker_device())
    if quick_fingerprint(generator) != expected:
        raise SourceError(
            f"{source} on a worker is not what it is on the driver: another version of the code, "
            "or a file or folder that has changed; bring them in line and run the command again"
        )
    return generator
