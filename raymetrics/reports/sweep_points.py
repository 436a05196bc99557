"""Sweeps: many generated sets against the same real one, placed by what their sources say."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raymetrics import option_strings
from raymetrics.errors import RaymetricsError
from raymetrics.generators.latents.truncated_generator import LETTERS
from raymetrics.output_names import NOT_FEATURES
from raymetrics.provenance import canonical
from raymetrics.reports.resampling_section import is_drawn
from raymetrics.reports.sides import of, whole
from raymetrics.results import Result, Side

PLAN = "plan"
PSI = "psi"  # NVIDIA's option, which is strategy D with one mean for all classes
NUMBER = re.compile(r"(?<![\d.])(\d+)(\D*)$")  # the last one in a file's name
LABELLED = re.compile(r", label (\d+)(?: \((.*)\))?$")


@dataclass(frozen=True)
class Place:
    """Where a generated set stands."""

    base: str  # the source without its truncation
    strategy: str | None  # "C clamp"; None of one that is not truncated
    amount: float  # 1 is the generator as it is, 0 the same image of all samples (of a class)
    run: str | None  # the source without its number, if it is a snapshot
    snapshot: int | None


@dataclass(frozen=True)
class Measure:
    """What was measured, and how; equal for numbers that may stand on one axis."""

    metric: str
    extractor: str
    output: str
    space: str  # all that the features were made of, as canonical JSON
    how: str  # likewise the convention, without what changes no number

    def of(self, metric: str) -> Measure:
        """Another metric of the same features in the same convention."""
        return replace(self, metric=metric)


@dataclass(frozen=True)
class Point:
    """A generated set with its numbers, by measure and label; no label is all samples."""

    side: Side
    place: Place
    results: dict[tuple[Measure, int | None], Result]
    row: Mapping[str, str]  # of the plan, by column; empty without one

    @property
    def source(self) -> str:
        """What it is made from."""
        return self.side.source

    def value(self, measure: Measure, label: int | None = None) -> float | None:
        """A number of it, if it was measured."""
        found = self.results.get((measure, label))
        return None if found is None else found.value


@dataclass(frozen=True)
class Sweep:
    """Generated sets against one real set: of equally many samples, or those of a plan."""

    real: Side
    count: int | None  # None where it is not known, or not the same
    points: list[Point]
    names: Mapping[Measure, str]  # in the order of the results
    classes: Mapping[int, str]  # by label, where there are results by label

    def measures(self, metric: str) -> list[Measure]:
        """Every way in which a metric was measured in features."""
        named = (m for m in self.names if m.metric == metric)
        return [measure for measure in named if measure.output not in NOT_FEATURES]


def sweeps(found: Sequence[Result]) -> list[Sweep]:
    """The results by what they can be compared with; of repeated ones the newest. Those of draws
    and of chosen samples are left out: they say how they were chosen, not what was generated."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in found:
        if not is_drawn(result) and not result.generated.selection:
            among = PLAN if result.row else whole(result.generated).count
            groups.setdefault((of(result.real), among), []).append(result)
    return [sweep(group) for group in groups.values()]


def sweep(group: Sequence[Result]) -> Sweep:
    """Comparable results, by generated set."""
    points: dict[tuple[object, ...], Point] = {}
    for result in group:
        side = whole(result.generated)
        where = (side.source, of(side))
        point = points.setdefault(where, Point(side, place(side.source), {}, result.row))
        point.results[measure(result), result.convention.get("label")] = result
    counts = {point.side.count for point in points.values()}
    count = counts.pop() if len(counts) == 1 else None
    return Sweep(whole(group[0].real), count, list(points.values()), names(group), classes(group))


def measure(result: Result) -> Measure:
    """What a result measures."""
    how = {k: v for k, v in result.convention.items() if k not in ("engine", "label")}
    extractor, output = (str(result.space[what]) for what in ("name", "output"))
    return Measure(result.metric, extractor, output, canonical(result.space), canonical(how))


def names(group: Sequence[Result]) -> dict[Measure, str]:
    """The label of every measure; where several have the same, with what tells them apart."""
    labels = {measure(r): (LABELLED.sub("", r.label), r.convention.items()) for r in group}
    named = {}
    for key, (label, said) in labels.items():
        alike = [of_other for other, of_other in labels.values() if other == label]
        apart = [
            f"{k}={v}"
            for k, v in said
            if k not in ("engine", "label") and not all((k, v) in others for others in alike)
        ]
        named[key] = ", ".join([label, *apart])
    return named


def classes(group: Sequence[Result]) -> dict[int, str]:
    """The names of the labels, or their numbers."""
    said = [(r.convention.get("label"), LABELLED.search(r.label)) for r in group]
    found = {
        int(label): (match[2] or match[1]) if match else str(label)
        for label, match in said
        if label is not None
    }
    return dict(sorted(found.items()))


def place(source: str) -> Place:
    """Where a source stands. One that does not say so stands for itself, not truncated."""
    try:
        name, options = option_strings.split(source)
        strategy, amount, rest = truncation(options)
    except (RaymetricsError, ValueError):
        return Place(source, None, 1.0, None, None)
    return Place(spelled(name, rest), strategy, amount, *snapshot(name, options))


def spelled(name: str, options: Mapping[str, str]) -> str:
    """A source, whatever the order of its options was."""
    return option_strings.join(name, dict(sorted(options.items())))


def truncation(options: Mapping[str, str]) -> tuple[str | None, float, dict[str, str]]:
    """The strategy, its amount, and the other options. ValueError for an amount that is none."""
    rest = dict(options)
    if "truncate" in rest:
        name, _, text = rest.pop("truncate").rpartition(":")
        strategy, about = lettered(name), "mean"
    elif PSI in rest:
        strategy, text, about = PSI, rest.pop(PSI), "cutoff"
    else:
        return None, 1.0, rest
    amount = float(text)
    if not math.isfinite(amount):
        raise ValueError(text)
    if about in rest:
        strategy += f", {about}={rest.pop(about)}"
    return strategy, amount, rest


def lettered(name: str) -> str:
    """ "C clamp", of either its letter or its name."""
    known = {
        text: f"{letter} {full}" for letter, full in LETTERS.items() for text in (letter, full)
    }
    return known.get(name, name)


def snapshot(name: str, options: Mapping[str, str]) -> tuple[str | None, int | None]:
    """The training run and the number of a snapshot: of its option, else of the file's name."""
    rest = dict(options)
    number = rest.pop("snapshot", "")
    if number.isdecimal():
        return spelled(name, rest), int(number)
    folder, slash, file = name.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    if not (stem and ending[:1].isalpha()):
        stem, dot, ending = file, "", ""
    found = NUMBER.search(stem)
    if not found:
        return None, None
    file = f"{stem[: found.start()]}*{found[2]}{dot}{ending}"
    return spelled(f"{folder}{slash}{file}", options), int(found[1])


def varying(sources: Sequence[str]) -> list[str]:
    """What tells sources apart: without the folders, name and options that all have."""
    try:
        parts = [option_strings.split(source) for source in sources]
    except RaymetricsError:
        return list(sources)
    names = apart([name for name, _ in parts])
    shared = set.intersection(*(set(options.items()) for _, options in parts))
    texts = []
    for name, (_, options), source in zip(names, parts, sources, strict=True):
        rest = {k: v for k, v in options.items() if (k, v) not in shared}
        texts.append(option_strings.join(name, rest).removeprefix("?") or source)
    return texts


def apart(names: Sequence[str]) -> list[str]:
    """The names without the folders before and the path behind that all share; nothing of
    equal names."""
    if len(set(names)) == 1:
        return [""] * len(names)
    before, behind = shared_folder(names), shared_folder([name[::-1] for name in names])
    return [name.removeprefix(before).removesuffix(behind[::-1]) for name in names]


def shared_folder(names: Sequence[str]) -> str:
    """ "runs/" if every name begins so; "" if they share none."""
    low, high = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[: low.rfind("/", 0, same) + 1]
