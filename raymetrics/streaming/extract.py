"""Extraction: the samples that are asked for, as a shard set; only what is missing is made.

What is on disk is the only state: run again after anything that stopped it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
from raymetrics.streaming.stream import Plan, stream


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
                rows += row.rows
                devices.add(row.device)
                made += row.made
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
