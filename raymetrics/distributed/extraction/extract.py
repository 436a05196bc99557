"""Extraction: the samples that are asked for, as a shard set; only what is missing is made.

What is on disk is the only state: run again after anything that stopped it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.continuation import continue_set
from raymetrics.distributed.extraction.dataset_request import (
    empty_set,
    named_apart,
    require_shard_rows,
    specification,
)
from raymetrics.distributed.extraction.disk_space import require_room, row_bytes
from raymetrics.distributed.extraction.pipeline import Plan, Target, stream
from raymetrics.distributed.extraction.progress import Progress, Told
from raymetrics.distributed.extraction.set_in_progress import Begun, Extraction
from raymetrics.distributed.extraction.usage import Spent
from raymetrics.distributed.model_sizes import largest, sizes_of
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import (
    RangeError,
    RaymetricsError,
    SourceError,
    StorageError,
    TemporaryFailure,
)
from raymetrics.generators import absolute, listing, open_source, without_broken
from raymetrics.python_arguments import IMAGES, as_texts, require_text
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store

Given = TypeVar("Given")


@dataclass(frozen=True)
class Request:
    """A set that is asked for, see `extract`."""

    to: str
    source: str
    samples: range | str | None = None


def extract(
    source: str,
    extractors: str | Sequence[str],
    to: str,
    samples: range | str | None = None,
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    skip_broken: int = 0,
    max_errors: int = 0,
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
    max_errors: how many samples may be left out because the generator raises; the others keep their
    ids, and the set says which it lacks.
    progress: called after every shard.

    Raises SourceError, ExtractorError, RangeError, StorageError, or SpecMismatch if `to` holds
    a set made from something else. Shards that are there stay as they are, whatever happens.
    """
    if skip_broken < 0:
        raise RangeError(f"skip_broken is {skip_broken}, expected at least 0")
    expected = "a source as text, such as 'photos', 'network.ts' or 'my_generator:generate'"
    text = require_text("source", source, SourceError, expected=expected, instead=IMAGES)
    to = require_text("to", to, StorageError, expected="a path or a URI", instead="name a place")
    source = absolute(text)
    broken: list[str] = []
    if skip_broken:
        Store(to).names()  # a place that cannot be used is found before images are read
        source, broken = without_broken(source, skip_broken)
    asked = [Request(to, source, samples)]
    done = extracted(asked, as_texts(extractors), shard_rows, resources, max_errors, progress)
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
    requests = [Request(to, source, samples) for to, source in sources.items()]
    return extracted(requests, extractors, shard_rows, resources, 0, progress)


def extracted(
    requests: Sequence[Request],
    extractors: Sequence[str],
    shard_rows: int,
    resources: Resources | None,
    max_errors: int,
    progress: Callable[[Progress], None] | None,
) -> list[Extraction]:
    """Those of several requests; the first that is wrong ends all."""
    begin = beginner(requests, extractors, shard_rows, max_errors)
    begun = [begin(request) for request in requests]
    for one in made(begun, resources, progress, spent := Spent()):
        one.require_sound()
    return [one.finished(spent) for one in begun]


def extract_each(
    requests: Sequence[Request],
    extractors: Sequence[str],
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    max_errors: int = 0,
    progress: Callable[[Progress], None] | None = None,
    check: Callable[[DatasetSpec], None] | None = None,
) -> list[Extraction | RaymetricsError]:
    """What `extract` gives for each, or the error that it raises: one that cannot be made does not
    stop the others. All in one stream, as in `extract_all`.

    check: is given what all of these sets have in common, see `empty_set`, before anything is
    written, and may refuse it.

    Raises what concerns all of them: extractors that cannot be had, a store that does not answer.
    """
    begin = beginner(requests, extractors, shard_rows, max_errors, check)
    begun = [_or_error(partial(begin, request)) for request in requests]
    sound = [one for one in begun if isinstance(one, Begun)]
    for _ in made(sound, resources, progress, spent := Spent()):
        pass
    return [
        _or_error(partial(one.finished, spent)) if isinstance(one, Begun) else one for one in begun
    ]


def _or_error(make: Callable[[], Given]) -> Given | RaymetricsError:
    try:
        return make()
    except TemporaryFailure:
        raise
    except RaymetricsError as error:
        return error


def beginner(
    requests: Sequence[Request],
    extractors: Sequence[str],
    shard_rows: int,
    max_errors: int,
    check: Callable[[DatasetSpec], None] | None = None,
) -> Callable[[Request], Begun]:
    """What enters a set at its place. Places that cannot be used are found before anything is
    loaded; loads the extractors, once."""
    require_shard_rows(shard_rows)
    if max_errors < 0:
        raise RangeError(f"max_errors is {max_errors}, expected at least 0")
    for request in requests:
        Store(request.to).names()
    texts, networks = named_apart(extractors)
    if check is not None:
        check(empty_set(texts, networks, shard_rows))

    def begin(request: Request) -> Begun:
        source = absolute(request.source)
        generator, store = open_source(source, torch.device("cpu")), Store(request.to)
        asked = specification(
            source, generator, texts, networks, request.samples, shard_rows, max_errors
        )
        spec, note = continue_set(store, asked, generator, networks)
        return Begun.of(
            store,
            spec,
            listing(generator),
            sizes_of(generator, networks),
            max_errors,
            asked.extractors,
            note,
        )

    return begin


def made(
    begun: Sequence[Begun],
    resources: Resources | None,
    progress: Callable[[Progress], None] | None,
    spent: Spent,
) -> Iterator[Begun]:
    """Makes what these lack; gives a set whenever something of it came, or could not be made."""
    todo = [one for one in begun if one.todo]
    tell = Told(begun, progress)
    if not todo:
        return
    require_room_for(todo)
    with session():
        targets = [Target(one.spec, one.listing, one.todo, one.uri, one.extractors) for one in todo]
        most, sizes = max(one.max_errors for one in todo), largest([one.sizes for one in todo])
        plan = Plan(targets, most_left_out=most, sizes=sizes)
        for row in stream(plan, resources or Resources(), spent):
            todo[row.target].add(row)
            tell(len(row.ids))
            yield todo[row.target]


def require_room_for(todo: Sequence[Begun]) -> None:
    """PlanTooLarge if what all local sets lack does not fit; those of a sweep share a disk."""
    local = [one for one in todo if one.store.local]
    if local:
        size = sum(sample_ranges.count(one.todo) * row_bytes(one.spec) for one in local)
        require_room(local[0].store, size)
