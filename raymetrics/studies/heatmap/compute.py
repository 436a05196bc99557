"""Heatmaps of samples of shard sets: a few in this process, or all of a set on workers.

A worker generates the images of a range of samples again from their ids, computes their heatmaps,
and writes one file: a map of a few numbers for each sample, and sums over all samples and over some
classes. The file's name is a digest of all that it depends on, so that a rerun makes only the
missing files. For 50,000 samples with 8 x 8 maps the driver holds 15 MB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from raymetrics.distributed.actor_map import map_with_workers
from raymetrics.distributed.choose_executor import is_small_extraction, runs_in_process
from raymetrics.distributed.extraction.generate import open_verified_generator
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import ShardError
from raymetrics.generators.base import generate_tensors
from raymetrics.heatmaps import TOP_CLASSES, Averages, HeatmapExtractor, Heatmaps
from raymetrics.metrics.frechet_sensitivity import Derivative
from raymetrics.npz_files import npz_bytes, parse_npz_or_none
from raymetrics.provenance import fingerprint
from raymetrics.shards.store import Store
from raymetrics.statistics import from_arrays, to_arrays
from raymetrics.studies.heatmap.request import HeatmapRequest, load_verified_extractor

SAMPLES_PER_RANGE = 1024  # samples to a file, cut at the multiples
_IMAGES_PER_BATCH = 64  # images in memory at a time
_RANGES_FOLDER = "ranges"
_RANGES_VERSION = 1  # of the files there


class SampleViewer:
    """Generates the images of samples and computes their heatmaps."""

    def __init__(
        self,
        source: tuple[str, str],
        extractor: tuple[str, Mapping[str, object]],
        derivative: Derivative,
        top_classes: int = TOP_CLASSES,
    ) -> None:
        """Open the source, with its quick fingerprint, and the extractor, with its specification.

        top_classes: how many of the most probable classes heatmaps have. Raises SourceError or
        ExtractorError if they are different on this machine.
        """
        loaded_extractor: Any = load_verified_extractor(*extractor)  # a network, by the request
        self.generator = open_verified_generator(*source)
        self.heatmap_extractor = HeatmapExtractor(loaded_extractor, derivative, top_classes)

    def __call__(self, sample_ids: np.ndarray) -> tuple[Tensor, Heatmaps]:
        """Return images uint8 [n, 3, h, w], on the device, and heatmaps of samples.

        sample_ids: int64 [n].
        """
        device = self.heatmap_extractor.extractor.device
        images = generate_tensors(self.generator, sample_ids).to(device)
        return images, self.heatmap_extractor(sample_ids, images)

    def in_batches(self, sample_ids: np.ndarray) -> Iterator[tuple[Tensor, Heatmaps]]:
        """Yield images and heatmaps of some samples after others, for the memory of the device."""
        for start in range(0, len(sample_ids), _IMAGES_PER_BATCH):
            yield self(sample_ids[start : start + _IMAGES_PER_BATCH])

    def view(self, sample_ids: np.ndarray) -> tuple[np.ndarray, Heatmaps]:
        """Return images uint8 [n, 3, h, w] and heatmaps of all samples with ids int64 [n]."""
        seen = [(images.cpu().numpy(), maps) for images, maps in self.in_batches(sample_ids)]
        images, parts = zip(*seen, strict=True)
        return np.concatenate(images), Heatmaps.concatenate(parts)


def heatmaps(
    request: HeatmapRequest, sample_ids: np.ndarray, top_classes: int = TOP_CLASSES
) -> tuple[np.ndarray, Heatmaps]:
    """Compute images uint8 [n, 3, h, w] and heatmaps of samples of the generated set.

    sample_ids: int64 [n], in any order. Runs in this process. The heatmaps are exact: their moments
    are those of the whole set.
    """
    viewer = SampleViewer(
        request.source, request.extractor, request.member_sensitivity(), top_classes
    )
    return viewer.view(sample_ids)


def heatmaps_if_added(
    request: HeatmapRequest,
    source: tuple[str, str],
    sample_ids: np.ndarray,
    exact: bool = False,
    top_classes: int = TOP_CLASSES,
) -> tuple[np.ndarray, Heatmaps]:
    """Compute heatmaps of samples of another source, each as if added to the generated set.

    source: with its quick fingerprint. exact: take the optimal map with each image included;
    otherwise the map of the set, which is near enough for many samples. Raises NotEnoughData where
    the map of the set is singular.
    """
    derivative = request.exact_sensitivity() if exact else request.added_sensitivity()
    return SampleViewer(source, request.extractor, derivative, top_classes).view(sample_ids)


@dataclass(frozen=True, eq=False)
class RangePlan:
    """What workers need to write the files of ranges; key: a digest of all that they depend on."""

    source: tuple[str, str]
    extractor: tuple[str, Mapping[str, object]]
    sensitivity: Derivative
    sample_ids: np.ndarray  # int64, ascending: all of the set
    classes: tuple[int, ...]
    uri: str
    key: str

    @property
    def range_starts(self) -> list[int]:
        """The first ids of the ranges that hold any of the samples."""
        return (np.unique(self.sample_ids // SAMPLES_PER_RANGE) * SAMPLES_PER_RANGE).tolist()

    def ids(self, first: int) -> np.ndarray:
        """Return the samples of a range."""
        start, stop = np.searchsorted(self.sample_ids, [first, first + SAMPLES_PER_RANGE])
        return self.sample_ids[start:stop]

    def file_name(self, first: int) -> str:
        """Return the name of the file of a range."""
        return f"heat-{first:012d}-{self.key[:24]}.npz"


class RangeWriter:
    """A worker: makes the samples of a range and writes its file."""

    def __init__(self, plan: RangePlan) -> None:
        self.plan = plan
        self.viewer = SampleViewer(plan.source, plan.extractor, plan.sensitivity)
        self.store = Store(plan.uri)

    def __call__(self, first: int) -> int:
        """Write the file of the range that begins at sample `first`; return its sample count."""
        ids = self.plan.ids(first)
        sums, seen = None, []
        for images, batch_heatmaps in self.viewer.in_batches(ids):
            batch_sums = Averages.from_images(images, batch_heatmaps, self.plan.classes)
            sums = batch_sums if sums is None else sums.merge(batch_sums)
            seen.append(batch_heatmaps)
        assert sums is not None  # no range without samples is planned
        arrays = {
            **to_arrays(Heatmaps.concatenate(seen)),
            **_with_prefix(to_arrays(sums.to_numpy())),
        }
        # Compressed, sums of large images take two thirds of the space and ninety times as long.
        self.store.replace(self.plan.file_name(first), npz_bytes(arrays))
        return len(ids)


@dataclass(frozen=True, eq=False)
class MeanHeatmaps:
    """The heatmaps of all samples of a set, with sums over all samples and over classes."""

    heatmaps: Heatmaps
    averages: Averages
    classes: tuple[int, ...]
    ranges_made: int  # ranges, in this run


def mean_heatmaps(
    request: HeatmapRequest,
    to: str,
    classes: Sequence[int],
    *,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> MeanHeatmaps:
    """Compute heatmaps of all samples of the generated set, with their sums.

    Files of ranges lie in the folder `ranges` of `to`, which all machines must share; existing
    files are not made again. Neither the number of workers nor a restart changes a bit.
    """
    uri = f"{Store(to).absolute_uri}/{_RANGES_FOLDER}"
    plan = RangePlan(
        request.source,
        request.extractor,
        request.member_sensitivity(),
        request.generated.sample_ids,
        tuple(classes),
        uri,
        fingerprint({**request.identity, "classes": [*classes], "v": _RANGES_VERSION}),
    )
    store = Store(uri)
    existing_files = store.names()
    todo = [first for first in plan.range_starts if plan.file_name(first) not in existing_files]
    rows, to_make = 0, sum(len(plan.ids(first)) for first in todo)
    start = time.monotonic()
    resources = resources or Resources()
    small = is_small_extraction(to_make, thread_safe=False)
    with session(local=runs_in_process(resources.in_process, small=small, work=f"{to_make} maps")):
        for rows_made in map_with_workers(RangeWriter, plan, todo, resources):
            rows += rows_made
            if progress:
                rate = rows / (time.monotonic() - start)
                progress(Progress(rows, to_make, len(plan.sample_ids) - to_make, rate))
    return _merge_ranges(plan, store, len(todo))


def _merge_ranges(plan: RangePlan, store: Store, ranges_made: int) -> MeanHeatmaps:
    """Merge all ranges in the order of their ids."""
    seen, averages = [], None
    for first in plan.range_starts:
        arrays = parse_npz_or_none(store.read(plan.file_name(first)))
        if arrays is None:
            raise ShardError(
                f"{store.path(plan.file_name(first))} is missing or damaged; remove it and run the "
                "same command again; a cluster needs a place that all of its machines share"
            )
        sums = {
            name[len(_SUMS_PREFIX) :]: a
            for name, a in arrays.items()
            if name.startswith(_SUMS_PREFIX)
        }
        sums["images"] = sums["images"].astype(np.int64)  # those of a range fit into int32
        range_sums: Averages = from_arrays(Averages, sums)
        averages = range_sums if averages is None else averages.merge(range_sums)
        heatmap_arrays = {
            name: a for name, a in arrays.items() if not name.startswith(_SUMS_PREFIX)
        }
        seen.append(from_arrays(Heatmaps, heatmap_arrays))
    assert averages is not None  # no set without samples is opened
    return MeanHeatmaps(Heatmaps.concatenate(seen), averages, plan.classes, ranges_made)


_SUMS_PREFIX = "sums_"


def _with_prefix(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays under names that arrays of heatmaps do not have."""
    return {f"{_SUMS_PREFIX}{name}": array for name, array in arrays.items()}


def write_heatmap_arrays(to: str, name: str, record: Heatmaps | Averages, **more: object) -> None:
    """Write the fields of a record, and `more` arrays, as an .npz file of numpy."""
    others = {key: np.asarray(value) for key, value in more.items()}
    Store(to).replace(name, npz_bytes({**to_arrays(record), **others}, compress=True))
