"""Sample ids -> generator actors -> extractor actors -> shards.

The stream's unit is a range of sample ids that does not cross a shard. Units flow in order;
a stage at the end gathers the rows of one shard, commits it, and hands one row to the driver,
where the progress is told. What is on disk is the only state: run again, and what is missing
is made.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray.data import ActorPoolStrategy, DataContext, Dataset

from raymetrics import ranges
from raymetrics.blocks import in_blocks
from raymetrics.errors import ExtractorError, RangeError, ShardError, SourceError
from raymetrics.extractors import NAMED, Extractor, make_extractor
from raymetrics.extractors.options import absolute as absolute_extractor
from raymetrics.generators import Generator, absolute, listing, open_source, without_broken
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.reader import ShardSet, open_shards
from raymetrics.shards.schema import Column
from raymetrics.shards.store import Store
from raymetrics.shards.writer import seal
from raymetrics.streaming.commit import DEVICE, PADDING, CommitShard
from raymetrics.streaming.devices import device, device_name, reproducible
from raymetrics.streaming.resources import Resources, Share, share
from raymetrics.streaming.session import NO_PROGRESS_SECONDS, session

COMMITTERS = 1  # an actor that mostly waits for the store, not for a processor


@dataclass(frozen=True)
class Progress:
    """How far a stream is, after a shard.

    rows: made in this run, of `rows_to_make`. rate: rows a second, from the first shard to this
    one; for the first itself, from the start, so that it includes the time that workers need to
    load their models.
    """

    rows: int
    rows_to_make: int
    rows_present: int
    rate: float

    @property
    def seconds_to_go(self) -> float:
        return (self.rows_to_make - self.rows) / self.rate


@dataclass(frozen=True)
class Extraction:
    """What `extract` did."""

    shards: ShardSet
    made: int  # shards, in this run
    present: int  # shards that were there before, within the samples asked for
    rows: int  # made in this run
    seconds: float
    broken: tuple[str, ...] = ()  # images that were left out


def extract(
    source: str,
    extractors: Sequence[str],
    to: str,
    samples: range | str | None = None,
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    skip_broken: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Extraction:
    """Features of a source's samples, as a shard set at `to`; makes only what is missing.

    source: "digits", a folder, "module:callable", ...: see `raymetrics.generators.open_source`.
    extractors: "inception", "vgg16?columns=fc2", ...: see `raymetrics.extractors.make_extractor`;
    each adds its columns.
    samples: which ids, as a range or as "first-last"; a data set's default is all.
    shard_rows: samples per file; a set that is there keeps its own.
    skip_broken: how many images that cannot be read may be left out of a data set; they are looked
    for before anything is made, and the others get the ids that they have in a set without them.
    progress: called after every shard.

    Raises SourceError, ExtractorError, RangeError, StorageError, or SpecMismatch if `to` holds
    a set made from something else. Shards that are there stay as they are, whatever happens.
    """
    if shard_rows < 1:
        raise RangeError(f"shard_rows is {shard_rows}, expected at least 1")
    source, store = absolute(source), Store(to)
    store.names()  # a place that cannot be used is found before anything is loaded
    broken: list[str] = []
    if skip_broken:
        source, broken = without_broken(source, skip_broken)
    generator = open_source(source, torch.device("cpu"))
    asked = describe(source, generator, extractors, samples, shard_rows)
    wanted = asked.samples
    spec = layout.enter(store, asked)
    present = layout.shard_ranges(store.names(), to)
    todo = layout.missing(spec, present, wanted)
    kept = sum(
        1 for ids in present if any(ids.start < w.stop and w.start < ids.stop for w in wanted)
    )
    rows_present = ranges.count(wanted) - ranges.count(todo)

    start = since = time.monotonic()
    rows = made = before = 0
    devices: set[str] = set()
    if todo:
        with session():
            plan = Plan(spec, listing(generator), todo, store.absolute_uri)
            for row in stream(plan, resources or Resources()):
                rows += row["rows"]
                devices.add(row["device"])
                made += row["made"]
                if progress:
                    rate = (rows - before) / (time.monotonic() - since)
                    progress(Progress(rows, ranges.count(todo), rows_present, rate))
                if not before:
                    before, since = rows, time.monotonic()
    shards = open_shards(to)
    lost = ranges.subtract(wanted, shards.present)
    if lost:
        raise ShardError(
            f"{ranges.count(lost)} of {rows} samples that workers wrote to {store.absolute_uri} "
            "are not there; a cluster needs a place that all of its machines share, as s3://..."
        )
    if not shards.missing and (made or shards.seal is None):
        shards = seal(shards, sorted(devices))
    return Extraction(shards, made, kept, rows, time.monotonic() - start, tuple(broken))


def describe(
    source: str,
    generator: Generator,
    extractors: Sequence[str],
    samples: range | str | None,
    shard_rows: int,
) -> DatasetSpec:
    """The specification of the set that is asked for; loads the extractors."""
    if not extractors:
        raise ExtractorError(f"no extractor is asked for; there are {', '.join(NAMED)}")
    texts, made = named_apart(extractors)
    ids = wanted_samples(generator, samples)
    labelled = generator.labels(np.arange(ids.start, ids.start + 1)) is not None
    return DatasetSpec(
        source=source,
        generator=generator.spec,
        extractors=[extractor.spec for extractor in made],
        columns=tuple(c for e in made for c in schema.columns_of(e.name, e.columns)),
        class_names={e.name: e.class_names for e in made if e.class_names},
        labels=labelled,
        shard_rows=shard_rows,
        samples=(ids,),
        asked=texts,
        files={extractor.name: extractor.file for extractor in made if extractor.file},
        label_names=tuple(getattr(generator, "label_names", ())) if labelled else (),
    )


def named_apart(extractors: Sequence[str]) -> tuple[tuple[str, ...], list[Extractor]]:
    """The extractors, loaded, by name, and the texts that ask for them. ExtractorError if two have
    the same name."""
    cpu = torch.device("cpu")
    texts = dict.fromkeys(map(absolute_extractor, extractors))
    made = sorted(((make_extractor(text, cpu), text) for text in texts), key=lambda e: e[0].name)
    for (one, first), (other, second) in itertools.pairwise(made):
        if one.name == other.name:
            raise ExtractorError(
                f"{first} and {second} are both called {one.name}; give one of them another name: "
                f"'{second}{'&' if '?' in second else '?'}name=...'"
            )
    return tuple(text for _, text in made), [extractor for extractor, _ in made]


def wanted_samples(generator: Generator, samples: range | str | None) -> range:
    """The ids asked for; RangeError if they are none or not there."""
    length = generator.length
    if samples is None:
        if length is None:
            raise RangeError(
                f"{generator.name} never ends, so say which samples: --samples 0-49999"
            )
        samples = range(length)
    ids = ranges.parse(samples) if isinstance(samples, str) else samples
    if len(ids) == 0 or ids.step != 1 or ids.start < 0:
        raise RangeError(f"samples {ids} are none; expected a range such as 0-49999")
    if length is not None and ids.stop > length:
        raise RangeError(
            f"{generator.name} has samples 0-{length - 1}, but {ranges.describe(ids)} are asked for"
        )
    return ids


@dataclass(frozen=True)
class Plan:
    """What is to be made: the shards `todo` of a set at `uri`; listing: of its generator."""

    spec: DatasetSpec
    listing: str
    todo: Sequence[range]
    uri: str


def stream(plan: Plan, resources: Resources) -> Iterator[Mapping[str, Any]]:
    """Makes the planned shards; yields one row per shard, in order, once it is committed."""
    units = list(units_of(plan.todo, resources.batch))
    mine = share(resources, at_most=len(units))
    dataset: Dataset = ray.data.from_items(units, override_num_blocks=len(units))
    configure(dataset.context)
    source = (plan.spec.source, plan.listing)
    extractors = (plan.spec.asked, plan.spec.extractors)
    if resources.fused:
        dataset = pool(dataset, GenerateAndExtract, (source, extractors), mine)
    else:
        # A share above half keeps two generators off one GPU, so that each gets an extractor.
        dataset = pool(dataset, Generate, source, mine, of_gpu=0.7)
        dataset = pool(dataset, Extract, extractors, mine, of_gpu=0.3)
    shards = dataset.map_batches(
        CommitShard,
        fn_constructor_args=(plan.uri, plan.spec.fingerprint, plan.todo),
        batch_size=max(len(ids) for ids in plan.todo),
        batch_format="pyarrow",
        # Asks for no CPU, so that no loss of a node can leave it without one.
        num_cpus=0,
        compute=ActorPoolStrategy(size=COMMITTERS),
    )
    yield from shards.iter_rows()


def units_of(todo: Sequence[range], batch: int) -> Iterator[dict[str, int]]:
    """The stream's units, {"first", "rows"}: each shard cut at the multiples of `batch`.

    The committing stage takes as many rows at a time as the longest shard has, so every
    shorter one but the last is filled up with rows of the sample id PADDING.
    """
    longest = max(len(ids) for ids in todo)
    for ids in todo:
        for unit in ranges.cut(ids, batch):
            yield {"first": unit.start, "rows": len(unit)}
        if ids is not todo[-1]:
            for done in range(len(ids), longest, batch):
                yield {"first": PADDING, "rows": min(batch, longest - done)}


def pool(
    dataset: Dataset,
    stage: type,
    arguments: tuple[object, ...],
    share: Share,
    of_gpu: float = 1.0,
) -> Dataset:
    """One more stage: a fixed number of actors that take one unit at a time."""
    return dataset.map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=1,
        num_cpus=share.cpus,
        num_gpus=of_gpu * share.gpus or None,
        compute=ActorPoolStrategy(size=share.actors),
    )


def configure(context: DataContext) -> None:
    """Order kept, blocks as the stages make them, silence on the terminal, no lost rows."""
    context.execution_options.preserve_order = True
    context.target_max_block_size = None
    context.execution_no_progress_timeout_s = NO_PROGRESS_SECONDS
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0
    context.raise_original_map_exception = True  # so that `session` can tell ours from bugs


class Generate:
    """A stage: units to {"sample_id" int64 [1, n], "image" uint8 [1, n, 3, h, w], "label"}.

    One row holds a whole unit, so that Ray cuts the stream between units and nowhere else.
    """

    def __init__(self, source: str, expected: str) -> None:
        reproducible()
        self.generator = open_source(source, device())
        if listing(self.generator) != expected:
            raise SourceError(
                f"{source} on a worker is not what it is on the driver: another version of the "
                "code, or a folder that has changed; bring them in line and run the command again"
            )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """unit: {"first" [1], "rows" [1]}."""
        first, rows = int(unit["first"][0]), int(unit["rows"][0])
        if first == PADDING:
            like = self._samples(np.array([0]))
            zeros = {n: np.zeros((1, rows, *v.shape[2:]), v.dtype) for n, v in like.items()}
            return {**zeros, schema.SAMPLE_ID: np.full((1, rows), PADDING)}
        return self._samples(np.arange(first, first + rows))

    def _samples(self, sample_ids: np.ndarray) -> dict[str, np.ndarray]:
        batch = {schema.SAMPLE_ID: sample_ids[None], "image": self.generator(sample_ids)[None]}
        labels = self.generator.labels(sample_ids)
        return batch if labels is None else {**batch, schema.LABEL: labels[None]}


class Extract:
    """A stage: what `Generate` gives to the rows of a shard, as an Arrow table."""

    def __init__(self, texts: Sequence[str], expected: Sequence[Mapping[str, object]]) -> None:
        reproducible()
        self.extractors = [make_extractor(text, device()) for text in texts]
        for extractor, spec in zip(self.extractors, expected, strict=True):
            if extractor.spec != spec:
                raise ExtractorError(
                    f"{extractor.name} on a worker is not what it is on the driver "
                    f"({'; '.join(layout.differences(extractor.spec, spec))}); bring code and "
                    "weights in line on all machines and run the command again"
                )

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: one, as `Generate` gives it; samples of PADDING get features of 0."""
        sample_ids, images = unit[schema.SAMPLE_ID][0], unit["image"][0]
        labels = unit[schema.LABEL][0] if schema.LABEL in unit else None
        real = sample_ids != PADDING
        columns: list[Column] = []
        features = {}
        for extractor in self.extractors:
            found = in_blocks(extractor, sample_ids[real], images[real], extractor.block)
            for column in schema.columns_of(extractor.name, extractor.columns):
                columns.append(column)
                padded = np.zeros((len(sample_ids), column.dimension), np.float32)
                if real.any():
                    padded[real] = found[column.output]
                features[column.name] = padded
        table = schema.to_table(columns, sample_ids, labels, features)
        return table.replace_schema_metadata({DEVICE: device_name()})


class GenerateAndExtract:
    """Both stages in one actor, so that images never leave it."""

    def __init__(
        self,
        source: tuple[str, str],
        extractors: tuple[Sequence[str], Sequence[Mapping[str, object]]],
    ) -> None:
        self.generate, self.extract = Generate(*source), Extract(*extractors)

    def __call__(self, unit: Mapping[str, np.ndarray]) -> pa.Table:
        """unit: {"first" [1], "rows" [1]}."""
        return self.extract(self.generate(unit))
