"""`evaluate`: what is asked is checked, read once, computed, and given its provenance."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from raymetrics import metrics as formulas
from raymetrics.distributed.fold import fold_shards
from raymetrics.distributed.neighbors import fits_at_once, rows_that_fit, survey_views
from raymetrics.distributed.session import session
from raymetrics.errors import NotEnoughData, PlanTooLarge, RaymetricsError, ShardError
from raymetrics.metrics import Convention, Protocol, Survey, registry
from raymetrics.metrics.prd import check_counts
from raymetrics.metrics.registry import DEFAULT, METRICS, Metric, Value
from raymetrics.metrics.required_statistics import Samples, bytes_of
from raymetrics.neighbors import survey_fast
from raymetrics.neighbors.faiss_indexes import load_faiss
from raymetrics.python_arguments import ARRAYS, as_names, require_text
from raymetrics.results import Result
from raymetrics.shards.foreign import is_statistics
from raymetrics.shards.shard_set import ShardSet
from raymetrics.shards.store import Store
from raymetrics.shards.view import View
from raymetrics.shards.writable import require_writable_to
from raymetrics.statistics import Measure, Rows
from raymetrics.studies.comparison import (
    SIDES,
    Item,
    fits,
    known,
    labels_of,
    opened,
    refuse_repeats,
    require_some,
    shared_columns,
    viewed,
)
from raymetrics.studies.evaluate_statistics_file import evaluate_reference
from raymetrics.studies.make_result import result, side_of

AT_ONCE = 1_000_000_000  # bytes of statistics that one pass over the shards gathers


@dataclass(frozen=True)
class Request:
    """What is asked, checked and opened."""

    views: Mapping[str, View]
    labels: Mapping[str, np.ndarray] | None  # int64 [n] by side, where it is by label
    items: Sequence[Item]
    asked: Convention
    protocol: Protocol | None

    def samples(self, label: int | None) -> Samples:
        """The ids of both sides, or of those with a label."""
        ids = {side: view.sample_ids for side, view in self.views.items()}
        if label is not None and self.labels is not None:
            ids = {side: ids[side][self.labels[side] == label] for side in ids}
        return Samples(**ids)


def evaluate(
    *,
    real: str | ShardSet,
    generated: str | ShardSet,
    metrics: str | Sequence[str] | None = None,
    extractors: str | Sequence[str] | None = None,
    columns: str | Sequence[str] | None = None,
    convention: Convention | str | None = None,
    protocol: str | None = None,
    samples: int | None = None,
    by: str | None = None,
    scores: str | None = None,
    tell: Callable[[list[Result]], None] | None = None,
    any_size: bool = False,
) -> list[Result]:
    """The metrics of two complete shard sets, in every feature space that both have.

    real, generated: shard sets, or some of their samples as "SHARDS?ids=FILE"; one of the two
    may be a file of statistics that another program kept (.npz, .pkl, .pt, see
    `raymetrics.shards.foreign.statistics_files`), for "fid" and "sfid" alone.
    metrics: of METRICS; by default "fid", "kid", "pr" and "top1", or those of the protocol. "fid"
    is the Frechet distance in whatever space there is; it is labelled by that space.
    extractors, columns: only these spaces; of the columns named here also logits are taken as
    features.
    convention: a `Convention`, or the name of a program whose choices are made.
    protocol: a name of the literature, which says metrics, convention and sample counts.
    samples: only the first so many of either side, by sample id.
    by: "label": every number once for each label.
    scores: with "realism", a Parquet file for the score of every generated sample.
    tell: called with the numbers, before the scores are written.
    any_size: compare sets whose images have different sizes too, which are refused otherwise.

    Reads either set in as few passes as memory allows, on Ray; neighbours read it again. Raises
    ShardError for an incomplete set, SpecMismatch for two that cannot be compared, NotEnoughData,
    or PlanTooLarge before any feature is read.
    """
    real, generated = require_set("real", real), require_set("generated", generated)
    metrics, extractors, columns = (
        None if names is None else as_names(names) for names in (metrics, extractors, columns)
    )
    named = None if protocol is None else formulas.protocol(protocol)
    if named and (convention, metrics, samples) != (None, None, None):
        raise RaymetricsError(
            f"protocol {named.name} says metrics, convention and samples; leave those out"
        )
    if columns and extractors:
        raise RaymetricsError("columns say their extractors; leave those out")
    if by not in (None, "label"):
        raise RaymetricsError(f"by is {by!r}; there is only 'label'")
    if isinstance(convention, str):
        convention = formulas.convention(convention)
    asked = named.convention if named else convention or Convention()
    if is_statistics(real) or is_statistics(generated):
        if by or scores:
            raise RaymetricsError(
                "a file of statistics knows neither labels nor samples; leave out by and scores"
            )
        found = evaluate_reference(
            real=real, generated=generated, metrics=metrics, extractors=extractors,
            columns=columns, asked=asked, protocol=named, samples=samples,
        )  # fmt: skip
        if tell:
            tell(found)
        return found
    there = {"real": opened(real), "generated": opened(generated)}
    sets = there["real"].shards, there["generated"].shards
    spaces = shared_columns(*sets, extractors, columns, any_size=any_size)
    names = known(named.metrics if named else DEFAULT if metrics is None else metrics)
    views = viewed(there, named, samples)
    labels = labels_of(views) if by == "label" else None
    items = [
        Item(METRICS[name], column, label)
        for label in ([None] if labels is None else np.unique(labels["real"]).tolist())
        for column in spaces
        for name in names
        if fits(METRICS[name], column, views["real"].shards.spec, explicit=bool(columns))
    ]
    require_some(items, names if metrics or named else names[:1], spaces)
    refuse_repeats(items, views)
    request = Request(views, labels, items, asked, named)
    refuse_if_too_few(request)
    if scores and (by or "realism" not in names):
        raise RaymetricsError("scores of samples are those of --metrics realism, of all labels")
    if scores is not None:
        require_writable_to(scores)
    table: dict[str, np.ndarray] = {}
    with session():
        refuse_if_too_large(request)
        found = [
            with_provenance(value, item, request, seconds)
            for item, value, seconds in computed(request, table)
        ]
    if tell:
        tell(found)
    if scores:
        write_scores(scores, views["generated"].sample_ids, table)
    return found


def require_set(side: str, value: object) -> str | ShardSet:
    """Take a shard set, or the text or path that names one. ShardError, with what to do, for
    anything else."""
    if isinstance(value, ShardSet):
        return value
    expected = "the path or URI of a shard set"
    return require_text(side, value, ShardError, expected=expected, instead=ARRAYS)


def computed(
    request: Request, scores: dict[str, np.ndarray]
) -> Iterator[tuple[Item, Value, float]]:
    """Every value, with the seconds that its formula took; in the order of the items. Adds the
    realism of all samples to the scores, by column."""
    surveys: dict[tuple[str, int | None], Survey] = {}
    for batch in batches(request):
        found = {side: gathered(request, batch, side) for side in SIDES}
        for item in batch:
            start = time.monotonic()
            samples = request.samples(item.label)
            if item.metric.survey is None:
                where = item.column.name, item.label
                of_real, of_generated = (found[side].get(where, {}) for side in SIDES)
                values = item.metric.compute(of_real, of_generated, samples, request.asked)
            else:
                where = item.column.name, item.label
                if where not in surveys:
                    surveys[where] = surveyed(request, item, found)
                values = from_survey(item, surveys[where], request.asked, samples)
                if item.metric.name == "realism":
                    scores[item.column.name] = surveys[where].of_generated.realism
            seconds = time.monotonic() - start
            yield from ((item, value, seconds) for value in values)


def from_survey(item: Item, found: Survey, asked: Convention, samples: Samples) -> list[Value]:
    """The values of a metric that a survey answers."""
    if item.metric.name == "realism":
        return registry.realism(found, asked, samples.generated)
    formula = {"pr": registry.precision_recall, "dc": registry.density_coverage}
    return formula[item.metric.name](found, asked)


def surveyed(request: Request, item: Item, found: Mapping[str, Any]) -> Survey:
    """One survey for all the metrics of the column and label that need one."""
    asked, column = request.asked, item.column.name
    parts = [
        other.metric.survey or frozenset()
        for other in request.items
        if (other.column.name, other.label) == (column, item.label)
    ]
    count, realism = (any(what in part for part in parts) for what in ("count", "realism"))
    if item.label is None:
        views = request.views
        return survey_views(
            real=views["real"],
            generated=views["generated"],
            column=column,
            convention=asked,
            count=count,
            realism=realism,
        )
    rows: list[Rows] = [found[side][column, item.label]["rows"] for side in SIDES]
    real, generated = (side.features for side in rows)
    return survey_fast(
        real=real, generated=generated, convention=asked, count=count, realism=realism
    )


def needs_of(request: Request, item: Item, side: str) -> dict[str, Any]:
    """The statistics that an item needs of a side, by name."""
    if item.metric.needs is not None:
        return dict(item.metric.needs(request.samples(item.label), side, request.asked))
    return {} if item.label is None else {"rows": Rows.of}


def gathered(request: Request, batch: Sequence[Item], side: str) -> dict[Any, dict[str, Any]]:
    """The statistics that a batch needs of a side, {(column, label): {name: statistic}}; in one
    pass over its shards."""
    measures, places = {}, {}
    for item in batch:
        for name, of in needs_of(request, item, side).items():
            key = f"{name} {item.column.name} {item.label}"
            measures[key] = Measure(item.column.name, of, item.label)
            places[key] = (item.column.name, item.label), name
    found: dict[Any, dict[str, Any]] = {}
    total = sum(bytes_needed(request, item) for item in batch) // 2
    for key, statistic in fold_shards(request.views[side], measures, total).items():
        where, name = places[key]
        found.setdefault(where, {})[name] = statistic
    return found


def batches(request: Request) -> Iterator[list[Item]]:
    """The items in their order, as many at a time as one pass may gather statistics for."""
    batch: list[Item] = []
    total = 0
    for item in request.items:
        need = bytes_needed(request, item)
        if batch and total + need > AT_ONCE:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += need
    yield batch


def bytes_needed(request: Request, item: Item) -> int:
    """By the statistics of both sides."""
    samples = request.samples(item.label)
    return sum(
        bytes_of(of, item.column.dimension, len(samples.of(side)))
        for side in SIDES
        for of in needs_of(request, item, side).values()
    )


def least(metric: Metric, asked: Convention) -> int:
    """Samples on either side that a metric takes."""
    of = {"fid": asked.ddof + 1, "sfid": asked.ddof + 1, "kid": asked.kid_subset_size}
    of |= {"is": asked.is_splits, "prd": 20, "fid-infinity": 150, "fid-counts": 20}
    return asked.ks[-1] + 1 if metric.survey is not None else of.get(metric.name, 1)


def refuse_if_too_few(request: Request) -> None:
    """NotEnoughData if a metric takes more samples than a side has."""
    for label in dict.fromkeys(item.label for item in request.items):
        samples = request.samples(label)
        of_label = "" if label is None else f" of label {label}"
        for metric in {item.metric.name: item.metric for item in request.items}.values():
            for side in SIDES:
                uri, there = request.views[side].shards.uri, len(samples.of(side))
                there_are = f"{uri} has {there} {side} ones{of_label}"
                require_enough(metric, request.asked, there, there_are)
            if metric.name == "prd":
                check_counts(len(samples.real), len(samples.generated), 20)


def require_enough(metric: Metric, asked: Convention, count: int, there_are: str) -> None:
    """NotEnoughData if a metric takes more samples than this count, which `there_are` tells."""
    takes = least(metric, asked)
    if count < takes:
        smaller = " or ask for a smaller --kid-subset-size" if metric.name == "kid" else ""
        raise NotEnoughData(
            f"{metric.name} takes at least {takes} samples, {there_are}; extract more, or leave "
            f"it out of --metrics{smaller}"
        )


def refuse_if_too_large(request: Request) -> None:
    """PlanTooLarge if what a metric must hold does not fit into memory."""
    if any(item.metric.survey is not None for item in request.items):
        load_faiss()  # says what is missing before anything is read
        for item in request.items:
            if not fits_at_once(request.views, item.column.name):
                rows_that_fit(item.column.dimension)
    free = psutil.virtual_memory().available
    for item in request.items:
        need = 2 * bytes_needed(request, item)  # a merge holds what it merges
        if need > free:
            rows = sum(len(request.samples(item.label).of(side)) for side in SIDES)
            raise PlanTooLarge(
                f"{item.metric.name} of {rows} samples needs {need / 1e9:.1f} GB for "
                f"{item.column.name}, {free / 1e9:.1f} GB are free; leave it out of --metrics, or "
                "evaluate on a larger machine"
            )


def with_provenance(value: Value, item: Item, request: Request, seconds: float) -> Result:
    """The value as a result of both sides."""
    samples = request.samples(item.label)
    sides = {name: side_of(view, len(samples.of(name))) for name, view in request.views.items()}
    of = [request.views[side].shards.spec for side in SIDES]
    return result(value, item, of, sides, request.asked, request.protocol, seconds)


def write_scores(path: str, sample_ids: np.ndarray, scores: Mapping[str, np.ndarray]) -> None:
    """A Parquet file: sample_id int64, and realism_COLUMN float64 for every column."""
    columns = {f"realism_{name}": pa.array(values) for name, values in scores.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"sample_id": pa.array(sample_ids), **columns}), buffer)
    name = path.rpartition("/")[2]
    Store(path.removesuffix(name) or ".").replace(name, buffer.getvalue())
