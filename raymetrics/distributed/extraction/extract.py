"""Extraction: features of the samples that a user asks for, as a shard set.

What is on disk is the only state: the same command makes only the shards that are missing, after
anything that stopped it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar, overload

import torch

from raymetrics import sample_ranges
from raymetrics.distributed.choose_executor import is_small_extraction, runs_in_process
from raymetrics.distributed.extraction.continuation import continue_set
from raymetrics.distributed.extraction.dataset_request import (
    empty_spec,
    load_extractors,
    make_spec,
    require_shard_rows,
)
from raymetrics.distributed.extraction.disk_space import require_disk_space, row_bytes
from raymetrics.distributed.extraction.generate import is_thread_safe
from raymetrics.distributed.extraction.numerics import NumericsRecorder
from raymetrics.distributed.extraction.progress import Progress, ProgressReporter
from raymetrics.distributed.extraction.set_in_progress import Extraction, SetInProgress
from raymetrics.distributed.extraction.stream import stream
from raymetrics.distributed.extraction.stream_plan import StreamPlan
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
from raymetrics.extractors import Extractor
from raymetrics.generators import (
    absolute_source,
    open_source,
    quick_fingerprint,
    skip_broken_images,
)
from raymetrics.generators.base import device_block
from raymetrics.python_arguments import IMAGES_HINT, as_texts, require_text
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.store import Store

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ExtractRequest:
    """One set to extract, see `extract`.

    to: may hold `FINGERPRINT_PLACEHOLDER`, where the fingerprint of the set is then written.
    """

    to: str
    source: str
    samples: range | str | Sequence[range] | None = None


def extract(
    source: str,
    extractors: str | Sequence[str],
    to: str,
    samples: range | str | Sequence[range] | None = None,
    *,
    shard_rows: int = 2048,
    resources: Resources | None = None,
    skip_broken: int = 0,
    max_errors: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Extraction:
    """Extract features of a source's samples into a shard set at `to`; make only missing shards.

    source: "digits", a folder, "module:callable", ...: see `raymetrics.generators.open_source`.
    extractors: "inception", "vgg16?columns=fc2", ...: see `raymetrics.extractors.make_extractor`;
    each adds its columns.
    samples: which ids, as ranges, as "first-last" or "107,540,1000-1999"; a data set's default is
    all.
    shard_rows: samples per file; an existing set keeps its own.
    skip_broken: how many images that cannot be read may be left out of a data set. They are looked
    for before anything is made, and the other images get the ids that they have in a set without
    the broken ones.
    max_errors: how many samples may be left out because the generator raises; the others keep their
    ids, and the set says which samples it lacks.
    progress: called after every shard.

    Existing shards stay as they are, whatever happens. Raises SourceError, ExtractorError,
    SampleRangeError, StorageError, or SpecMismatch if `to` holds a set made from something else.
    """
    if skip_broken < 0:
        raise SampleRangeError(f"skip_broken is {skip_broken}, expected at least 0")
    expected = "a source as text, such as 'photos', 'network.ts' or 'my_generator:generate'"
    text = require_text("source", source, SourceError, expected=expected, instead=IMAGES_HINT)
    to = require_text("to", to, StorageError, expected="a path or a URI", instead="name a place")
    source = absolute_source(text)
    broken: list[str] = []
    if skip_broken:
        Store(to).require_usable()
        source, broken = skip_broken_images(source, skip_broken)
    (extraction,) = extract_many(
        [ExtractRequest(to, source, samples)],
        as_texts(extractors),
        shard_rows=shard_rows,
        resources=resources,
        max_errors=max_errors,
        progress=progress,
    )
    return replace(extraction, broken=tuple(broken))


@overload
def extract_many(
    requests: Sequence[ExtractRequest],
    extractors: Sequence[str],
    *,
    on_error: Literal["raise"] = "raise",
    shard_rows: int = 2048,
    resources: Resources | None = None,
    max_errors: int = 0,
    progress: Callable[[Progress], None] | None = None,
    check: Callable[[DatasetSpec], None] | None = None,
) -> list[Extraction]: ...


@overload
def extract_many(
    requests: Sequence[ExtractRequest],
    extractors: Sequence[str],
    *,
    on_error: Literal["return"],
    shard_rows: int = 2048,
    resources: Resources | None = None,
    max_errors: int = 0,
    progress: Callable[[Progress], None] | None = None,
    check: Callable[[DatasetSpec], None] | None = None,
) -> list[Extraction | RaymetricsError]: ...


def extract_many(
    requests: Sequence[ExtractRequest],
    extractors: Sequence[str],
    *,
    on_error: Literal["raise", "return"] = "raise",
    shard_rows: int = 2048,
    resources: Resources | None = None,
    max_errors: int = 0,
    progress: Callable[[Progress], None] | None = None,
    check: Callable[[DatasetSpec], None] | None = None,
) -> Sequence[Extraction | RaymetricsError]:
    """Extract several sets in one stream, so that its actors load the extractors once.

    on_error: "raise" ends at the first set that cannot be made, if possible before anything is
    made; "return" makes the other sets, and returns the error in the place of that set.
    check: called with what all sets have in common, see `empty_spec`, before anything is written;
    it may raise.

    The other arguments are those of `extract`. Raises what concerns all sets: extractors that
    cannot be loaded, a store that does not answer.
    """
    require_shard_rows(shard_rows)
    if max_errors < 0:
        raise SampleRangeError(f"max_errors is {max_errors}, expected at least 0")
    for request in requests:
        Store(request.to).require_usable()
    texts, networks = load_extractors(extractors)
    if check is not None:
        check(empty_spec(texts, networks, shard_rows))
    open_set = _make_set_opener(texts, networks, shard_rows, max_errors)
    entries = [_attempt(partial(open_set, request), on_error) for request in requests]
    datasets = [entry for entry in entries if isinstance(entry, SetInProgress)]
    for dataset in _make_missing(datasets, networks, resources, progress, usage := StreamUsage()):
        if on_error == "raise":
            dataset.require_no_failure()
    return [
        _attempt(partial(entry.finish, usage), on_error)
        if isinstance(entry, SetInProgress)
        else entry
        for entry in entries
    ]


def _attempt(
    work: Callable[[], _Value], on_error: Literal["raise", "return"]
) -> _Value | RaymetricsError:
    """Return what the work returns; or the RaymetricsError that it raises, if that is asked for.

    A TemporaryFailure, such as a store that does not answer, concerns all sets and is raised.
    """
    try:
        return work()
    except TemporaryFailure:
        raise
    except RaymetricsError as error:
        if on_error == "raise":
            raise
        return error


def _make_set_opener(
    texts: tuple[str, ...], networks: Sequence[Extractor], shard_rows: int, max_errors: int
) -> Callable[[ExtractRequest], SetInProgress]:
    """Return a function that opens a requested set for writing.

    texts, networks: what `load_extractors` returns.
    """

    def open_set(request: ExtractRequest) -> SetInProgress:
        source = absolute_source(request.source)
        generator = open_source(source, torch.device("cpu"))
        requested_spec = make_spec(
            source, generator, texts, networks, request.samples, shard_rows, max_errors
        )
        store = Store(requested_spec.fill_address(request.to))
        names = store.names()
        spec, note = continue_set(store, requested_spec, generator, networks, names)
        return SetInProgress.begin(
            store,
            spec,
            names,
            quick_fingerprint(generator),
            measure_model_sizes(generator, networks),
            max_errors,
            requested_spec.extractors,
            note,
            thread_safe=all(map(is_thread_safe, (generator, *networks))),
            in_this_process=bool(getattr(generator, "in_this_process", False)),
            block=device_block(generator),
        )

    return open_set


def _make_missing(
    datasets: Sequence[SetInProgress],
    networks: Sequence[Extractor],
    resources: Resources | None,
    progress: Callable[[Progress], None] | None,
    usage: StreamUsage,
) -> Iterator[SetInProgress]:
    """Make the missing shards; yield a set after each of its shards, made or failed."""
    todo = [dataset for dataset in datasets if dataset.todo]
    report = ProgressReporter(datasets, progress)
    if not todo:
        return
    _require_disk_space_for(todo)
    resources = resources or Resources()
    with session(local=_runs_in_process(todo, resources)):
        recorder = NumericsRecorder(networks, todo[0].spec.extractor_texts, resources)
        for dataset in todo:
            dataset.spec = recorder.record(
                dataset.store, dataset.spec, dataset.block, has_shards=bool(dataset.files)
            )
        plan = StreamPlan(
            [dataset.target for dataset in todo],
            max_left_out=max(dataset.max_errors for dataset in todo),
            sizes=largest_sizes([dataset.sizes for dataset in todo]),
            loaded=networks,
        )
        for outcome in stream(plan, resources, usage):
            todo[outcome.target].add(outcome)
            report(len(outcome.ids))
            yield todo[outcome.target]


def _runs_in_process(todo: Sequence[SetInProgress], resources: Resources) -> bool:
    """Return whether the missing shards are made in this process, and not by workers of Ray."""
    rows = sum(sample_ranges.count_ids(dataset.todo) for dataset in todo)
    if any(dataset.in_this_process for dataset in todo):
        return True  # workers could not find its images
    thread_safe = all(dataset.thread_safe for dataset in todo)
    small = is_small_extraction(rows, thread_safe=thread_safe)
    return runs_in_process(resources.in_process, small=small, work=f"{rows} samples")


def _require_disk_space_for(todo: Sequence[SetInProgress]) -> None:
    """Raise InsufficientResources if the missing shards of all local sets do not fit on the disk.

    Sets of a sweep lie on one disk.
    """
    local = [dataset for dataset in todo if dataset.store.local]
    if local:
        size = sum(
            sample_ranges.count_ids(dataset.todo) * row_bytes(dataset.spec) for dataset in local
        )
        require_disk_space(local[0].store, size)
