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
    empty_spec,
    load_extractors,
    make_spec,
    require_shard_rows,
)
from raymetrics.distributed.extraction.disk_space import require_disk_space, row_bytes
from raymetrics.distributed.extraction.pipeline import stream
from raymetrics.distributed.extraction.progress import Progress, ProgressReporter
from raymetrics.distributed.extraction.set_in_progress import Extraction, SetInProgress
from raymetrics.distributed.extraction.stream_plan import SetToMake, StreamPlan
from raymetrics.distributed.extraction.usage import StreamUsage
from raymetrics.distributed.model_sizes import largest_sizes, measure_model_sizes
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import session
from raymetrics.errors import (
    RaymetricsError,
    SampleRangeError,
    SourceError,
    StorageError,
    TemporaryFailure,
)
from raymetrics.generators import (
    absolute_source,
    open_source,
    quick_fingerprint,
    skip_broken_images,
)
from raymetrics.python_arguments import IMAGES_HINT, as_texts, require_text
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ExtractRequest:
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
        raise SampleRangeError(f"skip_broken is {skip_broken}, expected at least 0")
    expected = "a source as text, such as 'photos', 'network.ts' or 'my_generator:generate'"
    text = require_text("source", source, SourceError, expected=expected, instead=IMAGES_HINT)
    to = require_text("to", to, StorageError, expected="a path or a URI", instead="name a place")
    source = absolute_source(text)
    broken: list[str] = []
    if skip_broken:
        Store(to).names()  # a place that cannot be used is found before images are read
        source, broken = skip_broken_images(source, skip_broken)
    requests = [ExtractRequest(to, source, samples)]
    extractions = _extract_requests(
        requests, as_texts(extractors), shard_rows, resources, max_errors, progress
    )
    return replace(extractions[0], broken=tuple(broken))


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
    requests = [ExtractRequest(to, source, samples) for to, source in sources.items()]
    return _extract_requests(requests, extractors, shard_rows, resources, 0, progress)


def _extract_requests(
    requests: Sequence[ExtractRequest],
    extractors: Sequence[str],
    shard_rows: int,
    resources: Resources | None,
    max_errors: int,
    progress: Callable[[Progress], None] | None,
) -> list[Extraction]:
    """Those of several requests; the first that is wrong ends all."""
    open_set = _make_set_opener(requests, extractors, shard_rows, max_errors)
    datasets = [open_set(request) for request in requests]
    for dataset in _make_missing(datasets, resources, progress, usage := StreamUsage()):
        dataset.require_no_failure()
    return [dataset.finish(usage) for dataset in datasets]


def extract_each(
    requests: Sequence[ExtractRequest],
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
    open_set = _make_set_opener(requests, extractors, shard_rows, max_errors, check)
    entries = [_catch_error(partial(open_set, request)) for request in requests]
    datasets = [entry for entry in entries if isinstance(entry, SetInProgress)]
    for _ in _make_missing(datasets, resources, progress, usage := StreamUsage()):
        pass
    return [
        _catch_error(partial(entry.finish, usage)) if isinstance(entry, SetInProgress) else entry
        for entry in entries
    ]


def _catch_error(work: Callable[[], _Value]) -> _Value | RaymetricsError:
    try:
        return work()
    except TemporaryFailure:
        raise
    except RaymetricsError as error:
        return error


def _make_set_opener(
    requests: Sequence[ExtractRequest],
    extractors: Sequence[str],
    shard_rows: int,
    max_errors: int,
    check: Callable[[DatasetSpec], None] | None = None,
) -> Callable[[ExtractRequest], SetInProgress]:
    """What enters a set at its place. Places that cannot be used are found before anything is
    loaded; loads the extractors, once."""
    require_shard_rows(shard_rows)
    if max_errors < 0:
        raise SampleRangeError(f"max_errors is {max_errors}, expected at least 0")
    for request in requests:
        Store(request.to).names()
    texts, networks = load_extractors(extractors)
    if check is not None:
        check(empty_spec(texts, networks, shard_rows))

    def open_set(request: ExtractRequest) -> SetInProgress:
        source = absolute_source(request.source)
        generator, store = open_source(source, torch.device("cpu")), Store(request.to)
        requested_spec = make_spec(
            source, generator, texts, networks, request.samples, shard_rows, max_errors
        )
        spec, note = continue_set(store, requested_spec, generator, networks)
        return SetInProgress.begin(
            store,
            spec,
            quick_fingerprint(generator),
            measure_model_sizes(generator, networks),
            max_errors,
            requested_spec.extractors,
            note,
        )

    return open_set


def _make_missing(
    datasets: Sequence[SetInProgress],
    resources: Resources | None,
    progress: Callable[[Progress], None] | None,
    usage: StreamUsage,
) -> Iterator[SetInProgress]:
    """Makes what these lack; gives a set whenever something of it came, or could not be made."""
    todo = [dataset for dataset in datasets if dataset.todo]
    report = ProgressReporter(datasets, progress)
    if not todo:
        return
    _require_disk_space_for(todo)
    resources = resources or Resources()
    with session(local=resources.local):
        targets = [
            SetToMake(dataset.spec, dataset.listing, dataset.todo, dataset.uri, dataset.extractors)
            for dataset in todo
        ]
        max_left_out, sizes = (
            max(dataset.max_errors for dataset in todo),
            largest_sizes([dataset.sizes for dataset in todo]),
        )
        plan = StreamPlan(targets, max_left_out=max_left_out, sizes=sizes)
        for outcome in stream(plan, resources, usage):
            todo[outcome.target].add(outcome)
            report(len(outcome.ids))
            yield todo[outcome.target]


def _require_disk_space_for(todo: Sequence[SetInProgress]) -> None:
    """PlanTooLarge if what all local sets lack does not fit; those of a sweep share a disk."""
    local = [dataset for dataset in todo if dataset.store.local]
    if local:
        size = sum(
            sample_ranges.count_ids(dataset.todo) * row_bytes(dataset.spec) for dataset in local
        )
        require_disk_space(local[0].store, size)
