"""Group results into sweeps: many generated sets against the same real set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raymetrics.generators.latents.strategies import STRATEGY_BY_LETTER
from raymetrics.output_names import NOT_FEATURES
from raymetrics.provenance import canonical_json
from raymetrics.reports.resampling_section import is_resampled
from raymetrics.results import Result, Side

_TABLE = "table"
NAME_COLUMN, SOURCE_COLUMN, SAMPLES_COLUMN = "name", "source", "samples"
_LETTERS = {name: letter for letter, name in STRATEGY_BY_LETTER.items()}


@dataclass(frozen=True)
class SourceSetting:
    """The settings of a generated set, as charts name them."""

    base: str  # the source without its truncation
    strategy: str | None  # "C clamp"; None without truncation
    amount: float  # 1 is the generator as it is, 0 the same image of all samples (of a class)
    run: str | None  # the source without its number, if it is a snapshot
    snapshot: int | None

    @classmethod
    def from_result(cls, result: Result) -> SourceSetting:
        """Return the settings that a result states of its generated side."""
        setting = result.setting
        return cls(
            setting.get("base", result.generated.source),
            _strategy_name(setting),
            setting.get("amount", 1.0),
            setting.get("run"),
            setting.get("snapshot"),
        )


def _strategy_name(setting: Mapping[str, object]) -> str | None:
    """Return "C clamp", or "D interpolate-w, mean=all" with an option; None without truncation."""
    if "truncate" not in setting:
        return None
    name = str(setting["truncate"])
    options = [f", {k}={setting[k]}" for k in ("mean", "cutoff") if k in setting]
    return "".join([f"{_LETTERS[name]} {name}" if name in _LETTERS else name, *options])


@dataclass(frozen=True)
class MeasureKey:
    """A metric in a space and a convention; equal for numbers that may share an axis."""

    metric: str
    extractor: str
    output: str
    space_json: str  # all that the features were computed with, as canonical JSON
    convention_json: str  # likewise the convention, without what changes no number

    def with_metric(self, metric: str) -> MeasureKey:
        """Return the key of another metric of the same features in the same convention."""
        return replace(self, metric=metric)


@dataclass(frozen=True)
class Point:
    """A generated set with its results, by measure and label; label None is all samples."""

    side: Side
    source_setting: SourceSetting
    results: dict[tuple[MeasureKey, int | None], Result]
    row: Mapping[str, str]  # of the table of a sweep, by column; empty without one

    @property
    def source(self) -> str:
        """The source of the generated set."""
        return self.side.source

    def cell(self, column: str) -> str:
        """Return the text of the row in a column.

        A row without a source or samples of its own has those of its set.
        """
        defaults = {SOURCE_COLUMN: self.source, SAMPLES_COLUMN: ", ".join(self.side.samples)}
        return self.row.get(column) or defaults.get(column, "")

    def value(self, measure: MeasureKey, label: int | None = None) -> float | None:
        """Return a value; None if it was not measured."""
        result = self.results.get((measure, label))
        return None if result is None else result.value


@dataclass(frozen=True)
class MeasureNames:
    """What a measure is called."""

    full: str  # "precision digits, k=5"
    metric: str  # "precision"
    space: str  # "digits, k=5"


@dataclass(frozen=True)
class Sweep:
    """Generated sets against one real set: of equally many samples, or the rows of one table."""

    real: Side
    count: int | None  # of samples; None if unknown, or if the sets differ
    points: list[Point]
    names: Mapping[MeasureKey, MeasureNames]  # in the order of the results
    classes: Mapping[int, str]  # by label, where there are results by label

    def measures(self, metric: str) -> list[MeasureKey]:
        """Return the measures of a metric in spaces of features."""
        same_metric = (m for m in self.names if m.metric == metric)
        return [measure for measure in same_metric if measure.output not in NOT_FEATURES]

    def whole_set_measures(self) -> list[MeasureKey]:
        """Return the measures of whole sets; a measure of single labels alone is left out."""
        return [m for m in self.names if any((m, None) in point.results for point in self.points)]

    def name(self, measure: MeasureKey) -> str:
        """Return the full name of a measure."""
        return self.names[measure].full


def group_sweeps(results: Sequence[Result]) -> list[Sweep]:
    """Return the comparable results as sweeps; of repeated results the newest.

    Results of drawn and of chosen samples are left out, since their values depend on the choice and
    not on the generator alone.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        if not is_resampled(result) and not result.generated.selection:
            count = _TABLE if result.row else result.generated.with_all_samples().count
            groups.setdefault((result.real.identity, count), []).append(result)
    return [make_sweep(group) for group in groups.values()]


def make_sweep(group: Sequence[Result]) -> Sweep:
    """Return comparable results as one sweep, by generated set."""
    points: dict[tuple[object, ...], Point] = {}
    for result in group:
        side = result.generated.with_all_samples()
        new_point = Point(side, SourceSetting.from_result(result), {}, result.row)
        point = points.setdefault((side.source, side.identity), new_point)
        point.results[_measure_key(result), result.subset.get("label")] = result
    counts = {point.side.count for point in points.values()}
    return Sweep(
        real=group[0].real.with_all_samples(),
        count=counts.pop() if len(counts) == 1 else None,
        points=list(points.values()),
        names=_measure_names(group),
        classes=_class_names(group),
    )


def _convention_fields(result: Result) -> dict[str, object]:
    """Return the convention without the engine, which changes no number, and the label."""
    return {k: v for k, v in result.convention.items() if k not in ("engine", "label")}


def _measure_key(result: Result) -> MeasureKey:
    """Return what a result measures."""
    extractor, output = (str(result.space[field]) for field in ("name", "output"))
    convention_json = canonical_json(_convention_fields(result))
    return MeasureKey(
        result.metric, extractor, output, canonical_json(result.space), convention_json
    )


def _measure_names(group: Sequence[Result]) -> dict[MeasureKey, MeasureNames]:
    """Return the names of every measure. Where several measures share a name, the fields of the
    convention in which they differ follow it.
    """
    newest = {_measure_key(result): result for result in group}
    fields_by_name: dict[str, list[dict[str, object]]] = {}
    for result in newest.values():
        fields_by_name.setdefault(result.measure_name, []).append(_convention_fields(result))
    names = {}
    for key, result in newest.items():
        namesakes = fields_by_name[result.measure_name]
        distinct = [
            f", {k}={v}"
            for k, v in _convention_fields(result).items()
            if not all((k, v) in fields.items() for fields in namesakes)
        ]
        suffix = "".join(distinct)
        names[key] = MeasureNames(
            result.measure_name + suffix, result.short_name, result.space_name + suffix
        )
    return names


def _class_names(group: Sequence[Result]) -> dict[int, str]:
    """Return the names of the labels that results are about."""
    subsets = (result.subset for result in group if "label" in result.subset)
    return dict(sorted({subset["label"]: subset["name"] for subset in subsets}.items()))
