"""Sweeps: many generated sets against the same real one, placed by what their sources say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError
from raymetrics.generators.latents.truncated_generator import STRATEGY_BY_LETTER
from raymetrics.output_names import NOT_FEATURES
from raymetrics.provenance import canonical_json
from raymetrics.reports.resampling_section import is_resampled
from raymetrics.reports.sides import side_key, whole_side
from raymetrics.results import Result, Side

_PLAN = "plan"
PSI = "psi"  # NVIDIA's option, which is strategy D with one mean for all classes
_LAST_NUMBER = re.compile(r"(?<![\d.])(\d+)(\D*)$")  # the last one in a file's name
_LABEL_SUFFIX = re.compile(r", label (\d+)(?: \((.*)\))?$")


@dataclass(frozen=True)
class SourceSetting:
    """Where a generated set stands."""

    base: str  # the source without its truncation
    strategy: str | None  # "C clamp"; None of one that is not truncated
    amount: float  # 1 is the generator as it is, 0 the same image of all samples (of a class)
    run: str | None  # the source without its number, if it is a snapshot
    snapshot: int | None


@dataclass(frozen=True)
class MeasureKey:
    """What was measured, and how; equal for numbers that may stand on one axis."""

    metric: str
    extractor: str
    output: str
    space_json: str  # all that the features were made of, as canonical JSON
    convention_json: str  # likewise the convention, without what changes no number

    def with_metric(self, metric: str) -> MeasureKey:
        """Another metric of the same features in the same convention."""
        return replace(self, metric=metric)


@dataclass(frozen=True)
class Point:
    """A generated set with its numbers, by measure and label; no label is all samples."""

    side: Side
    source_setting: SourceSetting
    results: dict[tuple[MeasureKey, int | None], Result]
    row: Mapping[str, str]  # of the plan, by column; empty without one

    @property
    def source(self) -> str:
        """What it is made from."""
        return self.side.source

    def value(self, measure: MeasureKey, label: int | None = None) -> float | None:
        """A number of it, if it was measured."""
        result = self.results.get((measure, label))
        return None if result is None else result.value


@dataclass(frozen=True)
class Sweep:
    """Generated sets against one real set: of equally many samples, or those of a plan."""

    real: Side
    count: int | None  # None where it is not known, or not the same
    points: list[Point]
    names: Mapping[MeasureKey, str]  # in the order of the results
    classes: Mapping[int, str]  # by label, where there are results by label

    def measures(self, metric: str) -> list[MeasureKey]:
        """Every way in which a metric was measured in features."""
        same_metric = (m for m in self.names if m.metric == metric)
        return [measure for measure in same_metric if measure.output not in NOT_FEATURES]


def group_sweeps(results: Sequence[Result]) -> list[Sweep]:
    """The results by what they can be compared with; of repeated ones the newest. Those of draws
    and of chosen samples are left out: they say how they were chosen, not what was generated."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        if not is_resampled(result) and not result.generated.selection:
            count_or_plan = _PLAN if result.row else whole_side(result.generated).count
            groups.setdefault((side_key(result.real), count_or_plan), []).append(result)
    return [make_sweep(group) for group in groups.values()]


def make_sweep(group: Sequence[Result]) -> Sweep:
    """Comparable results, by generated set."""
    points: dict[tuple[object, ...], Point] = {}
    for result in group:
        side = whole_side(result.generated)
        point_key = (side.source, side_key(side))
        point = points.setdefault(
            point_key, Point(side, parse_source_setting(side.source), {}, result.row)
        )
        point.results[_measure_key(result), result.convention.get("label")] = result
    counts = {point.side.count for point in points.values()}
    count = counts.pop() if len(counts) == 1 else None
    return Sweep(
        whole_side(group[0].real),
        count,
        list(points.values()),
        _measure_names(group),
        _class_names(group),
    )


def _measure_key(result: Result) -> MeasureKey:
    """What a result measures."""
    convention = {k: v for k, v in result.convention.items() if k not in ("engine", "label")}
    extractor, output = (str(result.space[field]) for field in ("name", "output"))
    return MeasureKey(
        result.metric, extractor, output, canonical_json(result.space), canonical_json(convention)
    )


def _measure_names(group: Sequence[Result]) -> dict[MeasureKey, str]:
    """The label of every measure; where several have the same, with what tells them apart."""
    labels = {
        _measure_key(r): (_LABEL_SUFFIX.sub("", r.label), r.convention.items()) for r in group
    }
    unique_names = {}
    for key, (label, convention_items) in labels.items():
        same_label_items = [
            other_items for other_label, other_items in labels.values() if other_label == label
        ]
        distinct = [
            f"{k}={v}"
            for k, v in convention_items
            if k not in ("engine", "label")
            and not all((k, v) in items for items in same_label_items)
        ]
        unique_names[key] = ", ".join([label, *distinct])
    return unique_names


def _class_names(group: Sequence[Result]) -> dict[int, str]:
    """The names of the labels, or their numbers."""
    labels_and_matches = [(r.convention.get("label"), _LABEL_SUFFIX.search(r.label)) for r in group]
    class_names = {
        int(label): (match[2] or match[1]) if match else str(label)
        for label, match in labels_and_matches
        if label is not None
    }
    return dict(sorted(class_names.items()))


def parse_source_setting(source: str) -> SourceSetting:
    """Where a source stands. One that does not say so stands for itself, not truncated."""
    try:
        name, options = option_strings.parse_options(source)
        strategy, amount, other_options = _parse_truncation(options)
    except (RaymetricsError, ValueError):
        return SourceSetting(source, None, 1.0, None, None)
    return SourceSetting(
        _canonical_source(name, other_options), strategy, amount, *_parse_snapshot(name, options)
    )


def _canonical_source(name: str, options: Mapping[str, str]) -> str:
    """A source, whatever the order of its options was."""
    return option_strings.format_options(name, dict(sorted(options.items())))


def _parse_truncation(options: Mapping[str, str]) -> tuple[str | None, float, dict[str, str]]:
    """The strategy, its amount, and the other options. ValueError for an amount that is none."""
    other_options = dict(options)
    if "truncate" in other_options:
        name, _, text = other_options.pop("truncate").rpartition(":")
        strategy, detail_option = _with_letter(name), "mean"
    elif PSI in other_options:
        strategy, text, detail_option = PSI, other_options.pop(PSI), "cutoff"
    else:
        return None, 1.0, other_options
    amount = float(text)
    if not math.isfinite(amount):
        raise ValueError(text)
    if detail_option in other_options:
        strategy += f", {detail_option}={other_options.pop(detail_option)}"
    return strategy, amount, other_options


def _with_letter(name: str) -> str:
    """ "C clamp", of either its letter or its name."""
    full_names = {
        text: f"{letter} {full}"
        for letter, full in STRATEGY_BY_LETTER.items()
        for text in (letter, full)
    }
    return full_names.get(name, name)


def _parse_snapshot(name: str, options: Mapping[str, str]) -> tuple[str | None, int | None]:
    """The training run and the number of a snapshot: of its option, else of the file's name."""
    other_options = dict(options)
    number = other_options.pop("snapshot", "")
    if number.isdecimal():
        return _canonical_source(name, other_options), int(number)
    folder, slash, file = name.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    if not (stem and ending[:1].isalpha()):
        stem, dot, ending = file, "", ""
    number_match = _LAST_NUMBER.search(stem)
    if not number_match:
        return None, None
    file = f"{stem[: number_match.start()]}*{number_match[2]}{dot}{ending}"
    return _canonical_source(f"{folder}{slash}{file}", options), int(number_match[1])


def distinguishing_names(sources: Sequence[str]) -> list[str]:
    """What tells sources apart: without the folders, name and options that all have."""
    try:
        parts = [option_strings.parse_options(source) for source in sources]
    except RaymetricsError:
        return list(sources)
    names = _distinguishing_parts([name for name, _ in parts])
    shared = set.intersection(*(set(options.items()) for _, options in parts))
    texts = []
    for name, (_, options), source in zip(names, parts, sources, strict=True):
        own_options = {k: v for k, v in options.items() if (k, v) not in shared}
        texts.append(option_strings.format_options(name, own_options).removeprefix("?") or source)
    return texts


def _distinguishing_parts(names: Sequence[str]) -> list[str]:
    """The names without the folders before and the path behind that all share; nothing of
    equal names."""
    if len(set(names)) == 1:
        return [""] * len(names)
    shared_start, shared_end = _shared_folder(names), _shared_folder([name[::-1] for name in names])
    return [name.removeprefix(shared_start).removesuffix(shared_end[::-1]) for name in names]


def _shared_folder(names: Sequence[str]) -> str:
    """ "runs/" if every name begins so; "" if they share none."""
    low, high = min(names), max(names)
    same_letters = next(
        (i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low)
    )
    return low[: low.rfind("/", 0, same_letters) + 1]
