"""Metrics of many generated sets against one real set: features in one stream, then metrics.

Shards that exist are not made again, and metrics of the same two sets are not computed again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypedDict

import torch

from raymetrics import sample_ranges
from raymetrics.distributed.extraction.dataset_request import requested_samples
from raymetrics.distributed.extraction.extract import ExtractRequest, extract_many
from raymetrics.distributed.extraction.progress import Progress
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import shared_session
from raymetrics.errors import (
    NotEnoughData,
    RaymetricsError,
    ResultsFileError,
    SampleRangeError,
    ShardError,
    TemporaryFailure,
)
from raymetrics.generators import open_source, permission_for
from raymetrics.metrics import Convention
from raymetrics.metrics.metric import Metric
from raymetrics.metrics.registry import METRICS, find_metric, find_metrics
from raymetrics.permissions import Permission
from raymetrics.provenance import fingerprint, software_environment
from raymetrics.python_arguments import as_names, as_texts
from raymetrics.results import Failure, Result
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.shard_set import ShardSet, open_shards
from raymetrics.shards.store import Store
from raymetrics.shards.writable import require_writable_store
from raymetrics.studies.comparison import open_as_view, require_measurable, set_uri
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.evaluate_shards import require_enough_for_metric
from raymetrics.studies.sweep_table import PlanRow, read_plan

# Precision and recall, Sajjadi et al.'s and FID side by side, as in Kynkaanniemi et al. 2019.
log = logging.getLogger(__name__)

_DEFAULT_METRICS = tuple(name for name, metric in METRICS.items() if metric.in_sweeps)
_NUMBERS_FOLDER = "numbers"  # below `to`: the results of every set
_MAX_NAME_LENGTH = 60  # of a source, in the name of the folder of its shards


@dataclass(frozen=True)
class SweepOutcome:
    """The results of a sweep by the names of its rows, in the order of its plan.

    written: the sources of the plan, which a page may open.
    """

    results_by_row: Mapping[str, list[Result]] = field(default_factory=dict)
    failures: Sequence[Failure] = ()
    written: frozenset[str] = frozenset()

    @property
    def results(self) -> list[Result]:
        """The results of all rows."""
        return [result for row_results in self.results_by_row.values() for result in row_results]

    def merge(self, newer: SweepOutcome) -> SweepOutcome:
        """Add the rows of a newer sweep, which replace rows of the same name."""
        newer_names = {*newer.results_by_row, *(failure.name for failure in newer.failures)}
        rest = {
            name: row_results
            for name, row_results in self.results_by_row.items()
            if name not in newer_names
        }
        failures = [failure for failure in self.failures if failure.name not in newer_names]
        written = self.written | newer.written
        return SweepOutcome({**rest, **newer.results_by_row}, [*failures, *newer.failures], written)


@dataclass(frozen=True)
class _SweepMetrics:
    """The metrics to compute of every set."""

    metrics: tuple[str, ...]
    columns: tuple[str, ...] | None
    convention: Convention
    by: str | None
    any_size: bool = False
    whole_count: int | None = None  # samples of each side for the numbers of whole sets
    equal_counts: bool = False
    random_ids: int = 0  # the seed of samples that are chosen

    @property
    def found_metrics(self) -> list[Metric]:
        """The metrics of these names."""
        return [find_metric(name) for name in self.metrics]

    def for_counts(self, real: int, generated: int) -> _SweepMetrics:
        """Return the metrics that can be computed of so many samples.

        NotEnoughData, the reason of the first one, if none can.
        """
        if self.whole_count and min(real, generated) < self.whole_count:
            raise NotEnoughData(
                f"whole sets are to be compared by {self.whole_count} samples of each side, there "
                f"are {real} real and {generated} generated ones; ask for fewer, or extract more"
            )
        problems = {m.text: self._problem(m, real, generated) for m in self.found_metrics}
        possible = tuple(name for name in self.metrics if problems[name] is None)
        if not possible:
            raise next(problem for problem in problems.values() if problem is not None)
        return replace(self, metrics=possible)

    def _problem(self, metric: Metric, real: int, generated: int) -> NotEnoughData | None:
        """Return why a metric cannot be computed of so many samples; None if it can."""
        if self.whole_count or self.equal_counts:
            real = generated = self.whole_count or min(real, generated)
        try:
            for side, count in (("real", real), ("generated", generated)):
                words = f"there are {count} {side} ones"
                require_enough_for_metric(metric, self.convention, count, words)
            if metric.require_counts is not None:
                metric.require_counts(real, generated)
        except NotEnoughData as error:
            return error
        return None

    def require_possible(self, real: int, counts: Sequence[int], *, named: bool) -> None:
        """Raise NotEnoughData if a metric that the user named can be computed of no row.

        Logs every other metric that is left out of some rows. counts: samples of each row.
        """
        for metric in self.found_metrics:
            problems = [self._problem(metric, real, count) for count in counts]
            reasons = [problem for problem in problems if problem is not None]
            if reasons and len(reasons) == len(problems) and named:
                raise reasons[0]
            if reasons:
                log.info(
                    "%s is left out of %d of %d rows: %s",
                    metric.text,
                    len(reasons),
                    len(problems),
                    reasons[0].message,
                )

    def results(self, real: str, generated: str) -> list[Result]:
        """Compute the metrics of all samples, and then label by label."""
        shared_arguments: dict[str, Any] = {
            "real": real,
            "generated": generated,
            "convention": self.convention,
            "any_size": self.any_size,
            "equal_counts": self.equal_counts,
            "random_ids": self.random_ids,
        }
        results: list[Result] = evaluate(
            **shared_arguments,
            metrics=self.metrics,
            columns=self.columns,
            samples=self.whole_count,
        )
        label_metrics = [metric.text for metric in self.found_metrics if metric.in_sweeps_by_label]
        if self.by and label_metrics:
            results += evaluate(
                **shared_arguments, metrics=label_metrics, columns=self.columns, by=self.by
            )
        return results


@dataclass(frozen=True)
class _RealSide:
    """The real set, and the samples of it that must be extracted first."""

    uri: str
    missing: tuple[ExtractRequest, ...]
    ids: range  # of every generated set whose row has no samples
    extractors: Sequence[str]


class SweepOptions(TypedDict, total=False):
    """The arguments of `sweep` that `truncate` and `snapshots` share with it."""

    shards: str | None
    extractors: str | Sequence[str] | None
    samples: range | str | int | None
    metrics: str | Sequence[str] | None
    columns: str | Sequence[str] | None
    convention: Convention | None
    by: str | None
    equal_counts: bool
    random_ids: int
    shard_rows: int
    run_code: bool
    any_size: bool
    resources: Resources | None
    progress: Callable[[Progress], None] | None
    on_row: Callable[[str], None] | None


def sweep(
    plan: str | Iterable[str | Mapping[str, object]],
    *,
    real: str | ShardSet | None = None,
    real_source: str | None = None,
    real_samples: range | str | None = None,
    to: str,
    shards: str | None = None,
    extractors: str | Sequence[str] | None = None,
    samples: range | str | int | None = None,
    metrics: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    convention: Convention | None = None,
    by: str | None = None,
    equal_counts: bool = False,
    random_ids: int = 0,
    shard_rows: int = 2048,
    run_code: bool = False,
    any_size: bool = False,
    resources: Resources | None = None,
    progress: Callable[[Progress], None] | None = None,
    on_row: Callable[[str], None] | None = None,
) -> SweepOutcome:
    """Compute the metrics of every row of a plan against one real set.

    A row that fails is recorded among the failures, and the other rows go on.

    plan: "plan.csv", "module:callable", dictionaries, or plain sources; see `read_plan`.
    real: a complete shard set, or some of its samples. Or real_source, of which real_samples (by
    default all) are extracted first, once for all rows.
    to: the folder of the results of every set. shards: the folder of the features, with a set for
    each source; by default `to`/shards.
    extractors: as texts; by default the extractors of the real set.
    samples: the ids of sources whose rows have no samples; by default as many first ids as there
    are real samples. Or a number N: the numbers of whole sets are those of N samples of each side,
    chosen at random, as in Kynkaanniemi et al. (2019), Fig. 5; with `by`, every label has all of
    its samples.
    metrics, columns, convention: as in `evaluate`; by default "fid", "pr", "dc" and "prd" of all
    features. by: "label" adds the results of every label, for the metrics that are computed by
    label.
    equal_counts: as in `evaluate`. random_ids: the seed of samples that are chosen.
    run_code: open a program, or a source on another machine, that a plan's file or the real set
    names.
    any_size: compare sets whose images have another size than the real images too.
    on_row: called with the name of the row whose metrics are computed next.

    Raises the errors of the request, of the real set, and of all rows together; ProgramRefused for
    a source that needs run_code; TemporaryFailure, after which the same sweep goes on. Sets and
    results that are finished stay.
    """
    permission = Permission(run_code)
    real = None if real is None else set_uri("real", real)
    rows = read_plan(plan, permission)
    names = as_names(_DEFAULT_METRICS if metrics is None else metrics)
    sweep_metrics = _SweepMetrics(
        tuple(metric.text for metric in find_metrics(names)),
        tuple(as_names(columns)) if columns else None,
        convention or Convention(),
        by,
        any_size,
        _parse_count(samples),
        equal_counts,
        random_ids,
    )
    folder, numbers_store = shards or f"{to}/shards", Store(f"{to}/{_NUMBERS_FOLDER}")
    for place_to_write in (to, folder):  # an error comes before any work
        require_writable_store(place_to_write)
    texts = None if extractors is None else as_texts(extractors)
    side = _plan_real_side(real, real_source, real_samples, texts, folder, permission)
    ids = _ids_of_rows(samples, sweep_metrics, side)
    counts = [len(row.ids or ids) for row in rows]
    sweep_metrics.require_possible(len(side.ids), counts, named=metrics is not None)
    requests = [
        ExtractRequest(shard_folder(folder, row), row.source, row.samples or ids) for row in rows
    ]
    results_by_row: dict[str, list[Result]] = {}
    failures: list[Failure] = []
    with shared_session(local=resources.local if resources else None):
        extractions = extract_many(
            [*side.missing, *requests],
            side.extractors,
            on_error="return",
            shard_rows=shard_rows,
            resources=resources,
            progress=progress,
            check=lambda made_of: _require_comparable(made_of, real, folder, sweep_metrics),
        )
        for real_extraction in extractions[: len(side.missing)]:
            _raise_if_error(real_extraction)
        extractions = extractions[len(side.missing) :]
        for row, request, extraction, count in zip(
            rows, requests, extractions, counts, strict=True
        ):
            try:
                _raise_if_error(extraction)
                _require_exact_samples(request)
                if on_row:
                    on_row(row.name)
                row_metrics = sweep_metrics.for_counts(len(side.ids), count)
                results = _cached_results(numbers_store, side.uri, request.to, row_metrics)
                results_by_row[row.name] = [
                    replace(result, row=dict(row.cells)) for result in results
                ]
            except TemporaryFailure:
                raise
            except RaymetricsError as error:
                failures.append(_make_failure(row, error))
    written = [*([real_source] if real_source else []), *(row.source for row in rows)]
    return SweepOutcome(results_by_row, failures, permission_for(run_code, *written).written)


def _parse_count(samples: range | str | int | None) -> int | None:
    """Return the number of samples, if it is one and no range. SampleRangeError for less than 1."""
    count = int(samples) if isinstance(samples, str) and samples.strip().isdecimal() else samples
    if not isinstance(count, int):
        return None
    if count < 1:
        raise SampleRangeError(f"samples is {count}; ask for at least 1")
    return count


def _ids_of_rows(
    samples: range | str | int | None, sweep_metrics: _SweepMetrics, side: _RealSide
) -> range:
    """Return the ids to extract of every generated set whose row has none of its own."""
    if sweep_metrics.whole_count is not None:
        # Each label takes all of its samples, and not only those of the whole set.
        return side.ids if sweep_metrics.by else range(sweep_metrics.whole_count)
    if isinstance(samples, str):
        return sample_ranges.parse_range(samples)
    return samples if isinstance(samples, range) else side.ids


def _require_comparable(
    made_of: DatasetSpec, real: str | None, folder: str, sweep_metrics: _SweepMetrics
) -> None:
    """Raise the error that every row would have.

    SpecMismatch for sets of these extractors that cannot be compared with the real set, or that
    lack a column; ShardError without labels.
    """
    generated_shards = ShardSet(Store(folder), made_of, ())
    real_shards = generated_shards if real is None else open_as_view(real).shards
    require_measurable(
        real_shards, generated_shards, sweep_metrics.found_metrics, sweep_metrics.columns
    )
    if sweep_metrics.by and real is not None:
        real_shards.require_labels()


def _raise_if_error(extraction: object) -> None:
    """Raise the error of a set that could not be extracted."""
    if isinstance(extraction, RaymetricsError):
        raise extraction


def _require_exact_samples(request: ExtractRequest) -> None:
    """Raise ShardError if a larger sweep has planned other samples of the set too."""
    shards, ids = open_shards(request.to), request.samples
    if ids is None:
        return
    wanted = sample_ranges.as_ids(ids)
    if tuple(sample_ranges.union(shards.spec.samples)) != wanted:
        current_samples, wanted_samples = (
            ", ".join(map(sample_ranges.format_range, ranges))
            for ranges in (shards.spec.samples, wanted)
        )
        raise ShardError(
            f"{shards.uri} is to hold samples {current_samples}, asked for are {wanted_samples}; "
            "ask for the same ones, or sweep to another place"
        )


def _make_failure(row: PlanRow, error: RaymetricsError) -> Failure:
    """Make the record of a row without results."""
    return Failure(row.name, row.source, dict(row.cells), type(error).__name__, str(error))


def _plan_real_side(
    shards: str | None,
    source: str | None,
    samples: range | str | None,
    extractors: Sequence[str] | None,
    folder: str,
    permission: Permission,
) -> _RealSide:
    """Return the existing real set, or plan the extraction of a source into this folder."""
    if shards is not None and source is None:
        view = open_as_view(shards)
        if samples is not None:
            raise SampleRangeError(
                f"{view.shards.uri} is a shard set, whose samples are all taken; leave out which "
                "real samples, or name the source"
            )
        for text in () if extractors else view.shards.spec.extractor_texts:
            permission.require_extractor(text, view.shards.uri)
        return _RealSide(
            shards, (), range(len(view)), extractors or view.shards.spec.extractor_texts
        )
    if shards is not None or source is None:
        raise RaymetricsError("give the real side either as a shard set or as a source of samples")
    ids = requested_samples(open_source(source, torch.device("cpu")), samples)
    uri = shard_folder(folder, PlanRow(source, sample_ranges.format_range(ids)), "real-")
    return _RealSide(uri, (ExtractRequest(uri, source, ids),), range(len(ids)), extractors or ())


def _cached_results(
    numbers_store: Store, real: str, generated: str, sweep_metrics: _SweepMetrics
) -> list[Result]:
    """Return the results of one set from an earlier run, or compute and store new ones."""
    shards = open_shards(generated)
    sides = {"real": open_as_view(real).digest(), "generated": shards.digest}
    # Two sources may give the same images.
    identity: dict[str, Any] = {
        **sides,
        "made_of": shards.spec.fingerprint,
        "asked": asdict(sweep_metrics),
    }
    user_code = [dict(metric.user_code) for metric in sweep_metrics.found_metrics]
    identity |= {"metrics": user_code} if any(user_code) else {}
    name = f"{fingerprint({**identity, 'by': software_environment()})[:24]}.jsonl"
    data = numbers_store.read(name)
    if data is not None:
        try:
            return [Result.from_json(line) for line in data.decode().splitlines()]
        except (UnicodeDecodeError, ResultsFileError) as error:
            raise ResultsFileError(
                f"{numbers_store.path(name)} holds no results ({error}); remove it, and they are "
                "computed again"
            ) from None
    results = sweep_metrics.results(real, generated)
    numbers_store.replace(name, "".join(result.to_json() + "\n" for result in results).encode())
    return results


def shard_folder(folder: str, row: PlanRow, prefix: str = "") -> str:
    """Return the folder of the shards of a row, with a readable name.

    Different rows have different folders, even if they differ only in a folder or in a character
    that the name leaves out. A row without samples keeps its folder in a sweep of more samples.
    """
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", row.source.rpartition("/")[2]).strip("-.")
    samples_field = {"samples": row.samples} if row.samples else {}
    digest = fingerprint({"source": row.source, **samples_field})[:6]
    return f"{folder}/{prefix}{readable[:_MAX_NAME_LENGTH]}-{digest}"
