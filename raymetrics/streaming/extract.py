"""Extraction: the samples that are asked for, as a shard set; only what is missing is made.

What is on disk is the only state: run again after anything that stopped it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from raymetrics import ranges
from raymetrics.errors import ExtractorError, RangeError, ShardError
from raymetrics.extractors import NAMED, Extractor, make_extractor
from raymetrics.extractors.options import absolute as absolute_extractor
from raymetrics.generators import Generator, absolute, listing, open_source, without_broken
from raymetrics.shards import layout, schema
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.reader import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writer import seal
from raymetrics.streaming.resources import Resources
from raymetrics.streaming.session import session
from raymetrics.streaming.stream import Made, Plan, Target, stream


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
    source = absolute(source)
    Store(to).names()  # a place that cannot be used is found before anything is loaded
    broken: list[str] = []
    if skip_broken:
        source, broken = without_broken(source, skip_broken)
    done = extract_all(
        {to: source}, extractors, samples,
        shard_rows=shard_rows, resources=resources, progress=progress,
    )  # fmt: skip
    return replace(done[0], broken=tuple(broken))


def extract_all(
    sources: Mapping[str, str],
    extractors: Sequence[str],
    samples: range | str | None = None,
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Extraction]:
    """The same of several sources, {to: source}, in one stream: one set after another by the same
    actors, which load the extractors once. What is wrong with any of them is found first."""
    if shard_rows < 1:
        raise RangeError(f"shard_rows is {shard_rows}, expected at least 1")
    stores = [Store(to) for to in sources]
    for store in stores:
        store.names()
    texts, networks = named_apart(extractors)
    asked = []
    for source in map(absolute, sources.values()):
        generator = open_source(source, torch.device("cpu"))
        spec = specification(source, generator, texts, networks, samples, shard_rows)
        asked.append((spec, listing(generator)))
    begun = [Begun.of(store, *of) for store, of in zip(stores, asked, strict=True)]
    todo = [one for one in begun if one.todo]
    tell = Told(begun, progress)
    if todo:
        with session():
            plan = Plan([Target(one.spec, one.listing, one.todo, one.uri) for one in todo])
            for row in stream(plan, resources or Resources()):
                todo[row.target].add(row)
                tell(row.rows)
    return [one.finished() for one in begun]


@dataclass
class Begun:
    """A set on its way: what it is to be, and what of it was made."""

    store: Store
    spec: DatasetSpec
    listing: str
    wanted: tuple[range, ...]
    todo: list[range]
    present: int  # shards that were there, within the samples asked for
    start: float = field(default_factory=time.monotonic)
    rows: int = 0
    made: int = 0
    devices: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, store: Store, asked: DatasetSpec, listing: str) -> Begun:
        """The set that is asked for, entered at its place."""
        spec, wanted = layout.enter(store, asked), asked.samples
        present = layout.shard_ranges(store.names(), str(store))
        todo = layout.missing(spec, present, wanted)
        kept = sum(
            1 for ids in present if any(ids.start < w.stop and w.start < ids.stop for w in wanted)
        )
        return cls(store, spec, listing, wanted, todo, kept)

    @property
    def uri(self) -> str:
        """As workers know it."""
        return self.store.absolute_uri

    def add(self, row: Made) -> None:
        """A shard that is committed."""
        self.rows += row.rows
        self.made += row.made
        self.devices.add(row.device)

    def finished(self) -> Extraction:
        """What was done; seals the set. ShardError if what was made is not there."""
        shards = open_shards(str(self.store))
        lost = ranges.subtract(self.wanted, shards.present)
        if lost:
            raise ShardError(
                f"{ranges.count(lost)} of {self.rows} samples that workers wrote to {self.uri} "
                "are not there; a cluster needs a place that all of its machines share, as s3://..."
            )
        if not shards.missing and (self.made or shards.seal is None):
            shards = seal(shards, sorted(self.devices))
        seconds = time.monotonic() - self.start
        return Extraction(shards, self.made, self.present, self.rows, seconds)


class Told:
    """Tells the progress of several sets as one."""

    def __init__(self, begun: Sequence[Begun], progress: Callable[[Progress], None] | None) -> None:
        self.to_make = sum(ranges.count(one.todo) for one in begun)
        self.there = sum(ranges.count(one.wanted) for one in begun) - self.to_make
        self.progress, self.since = progress, time.monotonic()
        self.rows = self.before = 0

    def __call__(self, rows: int) -> None:
        """So many more are there."""
        self.rows += rows
        if self.progress:
            rate = (self.rows - self.before) / (time.monotonic() - self.since)
            self.progress(Progress(self.rows, self.to_make, self.there, rate))
        if not self.before:
            self.before, self.since = self.rows, time.monotonic()


def describe(
    source: str,
    generator: Generator,
    extractors: Sequence[str],
    samples: range | str | None,
    shard_rows: int,
) -> DatasetSpec:
    """The specification of the set that is asked for; loads the extractors."""
    return specification(source, generator, *named_apart(extractors), samples, shard_rows)


def specification(
    source: str,
    generator: Generator,
    texts: tuple[str, ...],
    networks: Sequence[Extractor],
    samples: range | str | None,
    shard_rows: int,
) -> DatasetSpec:
    """The same of extractors that are loaded, sorted by name, and of the texts that name them."""
    ids = wanted_samples(generator, samples)
    labelled = generator.labels(np.arange(ids.start, ids.start + 1)) is not None
    return DatasetSpec(
        source=source,
        generator=generator.spec,
        extractors=[network.spec for network in networks],
        columns=tuple(c for n in networks for c in schema.columns_of(n.name, n.columns)),
        class_names={n.name: n.class_names for n in networks if n.class_names},
        labels=labelled,
        shard_rows=shard_rows,
        samples=(ids,),
        asked=texts,
        files={network.name: network.file for network in networks if network.file},
        label_names=tuple(getattr(generator, "label_names", ())) if labelled else (),
    )


def named_apart(extractors: Sequence[str]) -> tuple[tuple[str, ...], list[Extractor]]:
    """The extractors, loaded, by name, and the texts that ask for them. ExtractorError if two have
    the same name, or if there are none."""
    if not extractors:
        raise ExtractorError(f"no extractor is asked for; there are {', '.join(NAMED)}")
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
