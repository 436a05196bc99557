"""How far the numbers of two sets move with the protocol: conventions, sample counts, resizes.

One choice is changed at a time, and the others stay as they were asked for. Metrics whose formula
does not depend on what two conventions differ in are computed once for both.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from raymetrics import option_strings
from raymetrics.distributed.session import session
from raymetrics.errors import RaymetricsError
from raymetrics.metrics import Convention, Protocol
from raymetrics.metrics.conventions import CONVENTIONS, change_convention
from raymetrics.metrics.metric import MetricValue
from raymetrics.provenance import canonical_json
from raymetrics.results import VARIATION, Result
from raymetrics.shards.layout import DatasetSpec
from raymetrics.shards.schema import Column
from raymetrics.shards.view import View
from raymetrics.studies.comparison import (
    MetricTask,
    comparable_columns,
    require_unique_samples,
    take_count,
)
from raymetrics.studies.compute_metrics import MetricComputation, plan_tasks, require_memory
from raymetrics.studies.evaluate_shards import (
    EvaluationRequest,
    computes_in_process,
    require_enough_samples,
    warnings_of,
)
from raymetrics.studies.extract_sides import OpenSide
from raymetrics.studies.make_result import make_result, measure_names, sides_of_subset
from raymetrics.studies.result_warnings import SideFacts
from raymetrics.studies.subsets import SIDES, all_samples

log = logging.getLogger(__name__)

AXES = ("conventions", "counts", "resizes")
_ALL_AXES = "all"
_ASKED = "asked"  # the axis of the numbers as they were asked for
_PAPER_COUNTS = (50_000, 10_000, 5_000)  # of samples, as papers have them


@dataclass(frozen=True)
class Variation:
    """One way of computing the numbers."""

    axis: str  # of AXES, or "asked"
    setting: str  # "convention prdc", as a row of the table is called
    convention: Convention
    protocol: Protocol | None = None


@dataclass(frozen=True, eq=False)
class _Cell:
    """A metric of a column under a variation. asked_column: the column that it is compared with."""

    task: MetricTask
    asked_column: Column
    variation: Variation

    @property
    def value_key(self) -> tuple[object, ...]:
        """What the values depend on: equal for cells that have the same."""
        choices = [getattr(self.variation.convention, name) for name in self.task.metric.choices]
        return self.task.metric.variant, self.task.column.name, *choices


def parse_axes(under: str) -> tuple[str, ...]:
    """Return what is changed, of a name of AXES or "all". RaymetricsError for another name."""
    if under not in (*AXES, _ALL_AXES):
        raise RaymetricsError(f"under is {under!r}; there are {', '.join((_ALL_AXES, *AXES))}")
    return AXES if under == _ALL_AXES else (under,)


def add_other_resizes(texts: Sequence[str]) -> dict[str, str]:
    """Return extractors that resize otherwise, by the name of each, for every published network.

    texts: the extractors that are asked for. A network in a file or a callable has none.
    """
    from raymetrics.extractors import PUBLISHED_NETWORKS, published_network  # loads torch
    from raymetrics.extractors.options import UNTRAINED_PREFIX
    from raymetrics.extractors.resize import CONVENTIONS as RESIZES
    from raymetrics.extractors.resize import SQUARE_CONVENTIONS

    added = {}
    for text in texts:
        name, options = option_strings.parse_options(text)
        network_name = name.removeprefix(UNTRAINED_PREFIX)
        if network_name not in PUBLISHED_NETWORKS:
            continue
        network = published_network(network_name)
        own = options.get("resize", network.resize)
        for resize in RESIZES if network.any_shape else SQUARE_CONVENTIONS:
            if resize != own:
                new_name = f"{options.get('name', name)}-{resize}"
                new_options = {**options, "resize": resize, "name": new_name}
                added[new_name] = option_strings.format_options(name, new_options)
    return added


def evaluate_under(
    sides: Mapping[str, OpenSide],
    request: EvaluationRequest,
    axes: Sequence[str],
    changes: Mapping[str, object],
    *,
    announce: bool = True,
) -> list[Result]:
    """Compute the numbers as asked, and again under every convention, count and resize of the axes.

    sides: both views of shards. changes: choices that hold under every convention. The details of
    a result hold the variation. Raises what `evaluate_shards` does.
    """
    views: Mapping[str, View] = {s: v for s, v in sides.items() if isinstance(v, View)}
    shards = {side: view.shards for side, view in views.items()}
    compared = request.compared_columns(shards["real"], shards["generated"])
    spec = shards["real"].spec
    others: Mapping[Column, Sequence[Column]] = {}
    if "resizes" in axes:
        available = comparable_columns(**shards, extractors=None, columns=None, any_size=True)
        others = columns_of_other_resizes(compared, available, spec)
    views = request.select_samples(views)
    counts = {side: len(view) for side, view in views.items()}
    request = request.without_too_large(counts, announce=announce)
    varied = {column for columns in others.values() for column in columns}
    asked = [column for column in compared if column not in varied]
    computation = _VariedComputation(request, asked, spec)
    read = [*asked, *varied]
    with session(local=computes_in_process(request.local, views, read, announce)):
        return computation.results(views, axes, changes, others)


def columns_of_other_resizes(
    asked: Sequence[Column], available: Sequence[Column], spec: DatasetSpec
) -> dict[Column, list[Column]]:
    """Return the columns that differ from an asked one in the resize alone, by the asked one.

    Of several asked ones that differ in the resize alone the first counts as asked. Logs of which
    there is no other.
    """
    first_by_family: dict[str, Column] = {}
    for column in asked:
        first_by_family.setdefault(_family(column, spec), column)
    others: dict[Column, list[Column]] = {}
    for family, first in first_by_family.items():
        others[first] = [c for c in available if _family(c, spec) == family and c != first]
        if not others[first]:
            log.info(
                "%s is there by one resize alone; others need the images: name the sources in "
                "place of the shards",
                first.name,
            )
    return others


def _family(column: Column, spec: DatasetSpec) -> str:
    """Return all that a column was made with, but for the resize and the extractor's name."""
    fields = _extractor_spec(column, spec)
    kept = {k: v for k, v in fields.items() if k not in ("name", "resize", "columns")}
    return canonical_json({**kept, "output": column.output})


def _extractor_spec(column: Column, spec: DatasetSpec) -> Mapping[str, object]:
    return next(fields for fields in spec.extractors if fields["name"] == column.extractor)


def sample_counts(real: int, generated: int) -> list[int]:
    """Return the counts at which two sides are compared too: those of papers that both sides have.

    Without any, a half and a quarter of the smaller side.
    """
    smaller, larger = sorted((real, generated))
    counts = [count for count in _PAPER_COUNTS if count <= smaller and count < larger]
    return counts or [count for count in (smaller // 2, smaller // 4) if count]


@dataclass(frozen=True, eq=False)
class _VariedComputation:
    """The numbers of a request in the columns that were asked for, and variations of them."""

    request: EvaluationRequest
    columns: Sequence[Column]
    spec: DatasetSpec

    def results(
        self,
        views: Mapping[str, View],
        axes: Sequence[str],
        changes: Mapping[str, object],
        others: Mapping[Column, Sequence[Column]],
    ) -> list[Result]:
        """Compute the numbers as asked and under the axes; all of the same samples together."""
        convention = self.request.convention
        tasks = self._plan(views)
        require_unique_samples(tasks, views)
        require_enough_samples(views, tasks, convention)
        variations = [Variation(_ASKED, "as asked", convention, self.request.protocol)]
        if "conventions" in axes:
            variations += _variations_of_conventions(changes)
        cells = [_Cell(task, task.column, v) for v in variations for task in tasks]
        cells += [
            _Cell(replace(task, column=other), task.column, self._resize(other))
            for task in tasks
            for other in others.get(task.column, ())
        ]
        results = self._compute(views, cells)
        if "counts" in axes:
            for count in sample_counts(*(len(views[side]) for side in SIDES)):
                results += self._results_of_count(views, count)
        return results

    def _plan(self, views: Mapping[str, View]) -> list[MetricTask]:
        subset = all_samples(views, self.request.equal_counts_seed)
        return self.request.plan(self.columns, self.spec, [subset])

    def _resize(self, column: Column) -> Variation:
        resize = _extractor_spec(column, self.spec)["resize"]
        return Variation("resizes", f"resize {resize}", self.request.convention)

    def _results_of_count(self, views: Mapping[str, View], count: int) -> list[Result]:
        """Compute the numbers of so many random samples of each side."""
        convention, seed = self.request.convention, self.request.random_ids
        seed = convention.seed if seed is None else seed
        fewer = {side: take_count(view, count, seed) for side, view in views.items()}
        variation = Variation("counts", f"{count:,} samples", convention)
        return self._compute(fewer, [_Cell(t, t.column, variation) for t in self._plan(fewer)])

    def _compute(self, views: Mapping[str, View], cells: Sequence[_Cell]) -> list[Result]:
        """Compute the cells that the samples are enough for, those of equal values once."""
        smaller = min(map(len, views.values()))
        possible = [
            c for c in cells if smaller >= c.task.metric.min_samples(c.variation.convention)
        ]
        _log_what_is_left_out([cell for cell in cells if cell not in possible], smaller)
        sharing: dict[tuple[object, ...], list[_Cell]] = {}
        for cell in possible:
            sharing.setdefault(cell.value_key, []).append(cell)
        planned = [
            plan_tasks([equal_cells[0].task], equal_cells[0].variation.convention)[0]
            for equal_cells in sharing.values()
        ]
        require_memory(views, planned)
        computation = MetricComputation(views, planned, engine=self.request.engine)
        cells_of = dict(zip(planned, sharing.values(), strict=True))
        facts = {side: SideFacts(view) for side, view in views.items()}
        results = {
            (cells.index(cell), value.metric, value.convention.get("k"), value.short_name): (
                self._result(views, cell, value, seconds, facts)
            )
            for planned_task, value, seconds in computation.values()
            for cell in cells_of[planned_task]
        }
        return [results[key] for key in sorted(results, key=lambda key: key[0])]

    def _result(
        self,
        views: Mapping[str, View],
        cell: _Cell,
        value: MetricValue,
        seconds: float,
        facts: Mapping[str, SideFacts],
    ) -> Result:
        """Make the result of a value, which says what was varied."""
        variation, subset = cell.variation, cell.task.subset
        assert subset is not None  # as of all planned tasks
        specs = [views[side].shards.spec for side in SIDES]
        result = make_result(
            value,
            cell.task,
            specs,
            sides_of_subset(views, subset),
            variation.convention,
            variation.protocol,
            seconds,
            warnings_of(cell.task, variation.convention, facts),
        )
        names = measure_names(value, replace(cell.task, column=cell.asked_column), specs)
        several_ks = len(self.request.convention.ks) > 1 and "k" in value.convention
        fields = {
            "axis": variation.axis,
            "setting": variation.setting,
            "measure": " ".join(filter(None, names))
            + (f", k = {value.convention['k']}" if several_ks else ""),
        }
        return replace(result, details={**result.details, VARIATION: fields})


def _variations_of_conventions(changes: Mapping[str, object]) -> list[Variation]:
    """Return every convention, with the choices that the user has changed."""
    return [
        Variation("conventions", f"convention {name}", change_convention(convention, **changes))
        for name, convention in CONVENTIONS.items()
    ]


def _log_what_is_left_out(cells: Iterable[_Cell], count: int) -> None:
    settings: dict[str, list[str]] = {}
    for cell in cells:
        settings.setdefault(cell.task.metric.variant, []).append(cell.variation.setting)
    for name, left_out in settings.items():
        texts = ", ".join(dict.fromkeys(left_out))
        log.info("%s takes more than %d samples, and is left out under %s", name, count, texts)
