"""Heatmaps of shard sets' samples: a few in this process, or all of a set on workers.

A worker makes the images of a range of samples again from their ids, sees them once, and keeps one
file: a map of a few numbers for each sample, and sums over all and over some classes. The file's
name says all that it depends on, so that a rerun makes only what is missing. Of 50,000 samples with
8 x 8 maps the driver holds 15 MB.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray

from raymetrics.distributed.cluster_resources import Resources, placement
from raymetrics.distributed.extraction.pipeline import configure, pool
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.extraction.stages import same_generator
from raymetrics.distributed.neighbor_files import load_arrays
from raymetrics.errors import ShardError
from raymetrics.heatmaps import Averages, Heatmaps, Lens
from raymetrics.metrics.frechet_sensitivity import Sensitivity
from raymetrics.provenance import fingerprint
from raymetrics.shards.store import Store
from raymetrics.statistics import from_arrays, to_arrays
from raymetrics.studies.heatmap.request import HeatRequest, network

RANGE = 1024  # samples to a file, cut at the multiples
BATCH = 64  # images in memory at a time
FOLDER = "ranges"
VERSION = 1  # of what is kept there


class Look:
    """Sample ids to images and heatmaps; the driver has one for a few samples, workers for many."""

    def __init__(
        self,
        source: tuple[str, str],
        extractor: tuple[str, Mapping[str, object]],
        sensitivity: Sensitivity,
    ) -> None:
        """source: with the listing that it must have; extractor: with its specification.

        SourceError or ExtractorError if they are something else here.
        """
        made = network(*extractor)
        self.generator = same_generator(*source)
        self.lens = Lens(made, sensitivity)  # type: ignore[arg-type]  # a network, by the request

    def __call__(self, sample_ids: np.ndarray) -> tuple[np.ndarray, Heatmaps]:
        """sample_ids int64 [n] -> uint8 [n, 3, h, w], and what is seen in them."""
        images = self.generator(sample_ids)
        return images, self.lens(sample_ids, images)


def heatmaps(asked: HeatRequest, sample_ids: np.ndarray) -> tuple[np.ndarray, Heatmaps]:
    """Images uint8 [n, 3, h, w] and heatmaps of samples of the generated set; in this process.

    sample_ids: int64 [n]. Exact: the updated moments are those of the whole set.
    """
    look = Look(asked.source, asked.extractor, asked.of_members())
    return look(sample_ids)


def heatmaps_added(
    asked: HeatRequest, source: tuple[str, str], sample_ids: np.ndarray, exact: bool = False
) -> tuple[np.ndarray, Heatmaps]:
    """The same of samples of another source, each as if it were added to the generated set.

    source: with its listing. exact: the optimal map is found again with each image included, which
    takes an eigendecomposition for every one; otherwise it is that of the set, near enough for
    many samples. NotEnoughData where that one is singular.
    """
    if not exact:
        return Look(source, asked.extractor, asked.of_added())(sample_ids)
    extractor = network(*asked.extractor)
    images, seen = same_generator(*source)(sample_ids), []
    for row, number in enumerate(sample_ids):
        ids, image = sample_ids[row : row + 1], images[row : row + 1]
        features = asked.features_of(extractor, number, image)
        lens = Lens(extractor, asked.of_one(features))  # type: ignore[arg-type]
        seen.append(lens(ids, image))
    return images, Heatmaps.joined(seen)


@dataclass(frozen=True, eq=False)
class Plan:
    """What workers need to make ranges."""

    source: tuple[str, str]
    extractor: tuple[str, Mapping[str, object]]
    sensitivity: Sensitivity
    sample_ids: np.ndarray  # int64, ascending: all of the set
    classes: tuple[int, ...]
    uri: str
    key: str

    @property
    def firsts(self) -> list[int]:
        """Where the ranges begin that hold any of the samples."""
        return (np.unique(self.sample_ids // RANGE) * RANGE).tolist()

    def ids(self, first: int) -> np.ndarray:
        """The samples of a range."""
        start, stop = np.searchsorted(self.sample_ids, [first, first + RANGE])
        return self.sample_ids[start:stop]

    def file(self, first: int) -> str:
        """The name of the file of a range."""
        return f"heat-{first:012d}-{self.key[:24]}.npz"


class KeepRange:
    """A stage: the beginnings of ranges to files."""

    def __init__(self, plan: Any) -> None:
        """plan: a `Plan`, or Ray's reference to one."""
        self.plan: Plan = ray.get(plan) if isinstance(plan, ray.ObjectRef) else plan
        self.look = Look(self.plan.source, self.plan.extractor, self.plan.sensitivity)
        self.store = Store(self.plan.uri)

    def __call__(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """unit: {"first" [1]}; what was made: {"rows" [1]}."""
        first = int(unit["first"][0])
        ids = self.plan.ids(first)
        sums, seen = None, []
        for start in range(0, len(ids), BATCH):
            images, found = self.look(ids[start : start + BATCH])
            some = Averages.of(images, found, self.plan.classes)
            sums = some if sums is None else sums.merge(some)
            seen.append(found)
        arrays = {**to_arrays(Heatmaps.joined(seen)), **prefixed(to_arrays(sums))}
        self.store.replace(self.plan.file(first), packed_arrays(arrays))
        return {"rows": np.array([len(ids)])}


@dataclass(frozen=True, eq=False)
class Means:
    """Of all samples of a set: every map, and sums over all and over classes."""

    seen: Heatmaps
    averages: Averages
    classes: tuple[int, ...]
    made: int  # ranges, in this run


def mean_heatmaps(
    asked: HeatRequest,
    to: str,
    classes: Sequence[int],
    *,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Means:
    """Heatmaps of all samples of the generated set, with their sums; needs a session.

    Files of ranges lie in the folder `ranges` of `to`, which all machines must share; those that
    are there are not made again. Neither the number of workers nor a restart changes a bit.
    """
    uri = f"{Store(to).absolute_uri}/{FOLDER}"
    plan = Plan(
        asked.source, asked.extractor, asked.of_members(), asked.generated.sample_ids,
        tuple(classes), uri, fingerprint({**asked.identity, "classes": [*classes], "v": VERSION}),
    )  # fmt: skip
    store = Store(uri)
    there = store.names()
    todo = [first for first in plan.firsts if plan.file(first) not in there]
    rows, to_make = 0, sum(len(plan.ids(first)) for first in todo)
    start = time.monotonic()
    for made in keep_ranges(plan, todo, resources or Resources()):
        rows += made
        if progress:
            rate = rows / (time.monotonic() - start)
            progress(Progress(rows, to_make, len(plan.sample_ids) - to_make, rate))
    return gathered(plan, store, len(todo))


def keep_ranges(plan: Plan, todo: Sequence[int], resources: Resources) -> Iterator[int]:
    """Makes the ranges on actors; yields the samples of each, in order, once it is kept."""
    if not todo:
        return
    dataset = ray.data.from_items([{"first": first} for first in todo])
    configure(dataset.context)
    place = placement(replace(resources, fused=True, generators=None), len(todo))
    stage = pool(dataset, KeepRange, (ray.put(plan),), place.generate)
    for row in stage.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        yield int(row["rows"][0])


def gathered(plan: Plan, store: Store, made: int) -> Means:
    """All ranges, merged in the order of their ids."""
    seen, averages = [], None
    for first in plan.firsts:
        arrays = load_arrays(store, plan.file(first))
        if arrays is None:
            raise ShardError(
                f"{store.path(plan.file(first))} is missing or damaged; remove it and run the same "
                "command again; a cluster needs a place that all of its machines share"
            )
        sums = {name[len(SUMS) :]: a for name, a in arrays.items() if name.startswith(SUMS)}
        some: Averages = from_arrays(Averages, sums)
        averages = some if averages is None else averages.merge(some)
        own = {name: a for name, a in arrays.items() if not name.startswith(SUMS)}
        seen.append(from_arrays(Heatmaps, own))
    assert averages is not None  # no set is empty
    return Means(Heatmaps.joined(seen), averages, plan.classes, made)


SUMS = "sums_"


def prefixed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Under names that those of heatmaps do not have."""
    return {f"{SUMS}{name}": array for name, array in arrays.items()}


def write_arrays(to: str, name: str, found: Heatmaps | Averages, **more: object) -> None:
    """The fields of what was found, and more, as an .npz of numpy."""
    others = {key: np.asarray(value) for key, value in more.items()}
    Store(to).replace(name, packed_arrays({**to_arrays(found), **others}))


def packed_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
