"""Generate and extract a batch of samples, and join the batches of a shard."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from torch import Tensor

from raymetrics import sample_ranges
from raymetrics.devices.transfers import Download
from raymetrics.distributed.devices import device_name, machine_kind
from raymetrics.distributed.extraction.generate import SampleGenerator, is_thread_safe
from raymetrics.distributed.extraction.shard_record import EXTRACT, GENERATE, ShardRecord
from raymetrics.errors import SourceError
from raymetrics.extractors import Extractor
from raymetrics.extractors.base import extract_tensors
from raymetrics.shards import schema
from raymetrics.shards.schema import Column

_calling_user_code = threading.Lock()


@dataclass(frozen=True)
class Batch:
    """The samples of a batch, with features on their way from the device.

    The fields are those of `GeneratedSamples`. features: float32 [n, d] by column name. seconds:
    the time of the calls of each stage, which do not wait for the device.
    """

    sample_ids: np.ndarray
    labels: np.ndarray | None
    left_out: Mapping[int, str]
    one_by_one: bool
    image_size: tuple[int, int] | None
    made_on: tuple[str, ...]
    features: Download
    seconds: Mapping[str, float]
    prompts: Sequence[str] | None = None


def compute_batch(
    generator: SampleGenerator,
    extractors: Sequence[Extractor],
    upload: Callable[[Tensor], Tensor],
    target: int,
    ids: range,
) -> Batch:
    """Generate samples of a source and extract their features, without waiting for the device.

    upload: moves images to the device of the extractors, once for all of them.
    """
    start = time.monotonic()
    samples = generator.generate(target, np.array(ids))
    generated = time.monotonic()
    images = upload(samples.images)
    features: dict[str, Tensor] = {}
    for extractor in extractors if len(images) else ():
        with nullcontext() if is_thread_safe(extractor) else _calling_user_code:
            outputs = extract_tensors(extractor, samples.sample_ids, images, samples.prompts)
        for column in schema.make_columns(extractor.name, extractor.columns):
            features[column.name] = outputs[column.output]
    download = Download.begin(features)
    return Batch(
        samples.sample_ids,
        samples.labels,
        samples.left_out,
        samples.one_by_one,
        (images.shape[2], images.shape[3]) if len(images) else None,
        samples.made_on,
        download,
        {GENERATE: generated - start, EXTRACT: time.monotonic() - generated},
        samples.prompts,
    )


def join_rows(columns: Sequence[Column], batches: Sequence[Batch]) -> pa.Table | None:
    """Return the rows of all batches, in their order; None if there is none."""
    full = [batch for batch in batches if len(batch.sample_ids)]
    if not full:
        return None
    parts = [batch.features.wait() for batch in full]
    labels = [batch.labels for batch in full if batch.labels is not None]
    prompts = [text for batch in full for text in batch.prompts or ()]
    return schema.to_table(
        columns,
        np.concatenate([batch.sample_ids for batch in full]),
        np.concatenate(labels) if labels else None,
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        prompts or None,
    )


def describe_batches(record: ShardRecord, batches: Sequence[Batch], seconds: float) -> ShardRecord:
    """Return the record of a shard with what happened to its batches.

    seconds: from the first call to the last feature; what the device took beyond the calls is time
    of extraction. Raises SourceError for images of several sizes.
    """
    sizes = sorted({batch.image_size for batch in batches if batch.image_size})
    if len(sizes) > 1:
        sizes_text = " and ".join(f"{height} x {width}" for height, width in sizes)
        raise SourceError(
            f"samples {sample_ranges.format_range(record.ids)} have images of {sizes_text}; give "
            "all of them one size"
        )
    times = {s: sum(batch.seconds[s] for batch in batches) for s in (GENERATE, EXTRACT)}
    times[EXTRACT] += max(0.0, seconds - sum(times.values()))
    machines = {machine for batch in batches for machine in batch.made_on}
    return replace(
        record,
        device=device_name(),
        left_out={sample: why for batch in batches for sample, why in batch.left_out.items()},
        seconds=times,
        single_sample_batches=sum(batch.one_by_one for batch in batches),
        made_on=sorted({*machines, machine_kind()}),
        image_size=sizes[0] if sizes else None,
    )
