"""Draws from a set side by side, in the space where they were matched and in the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.printable import escape_unprintable
from raymetrics.reports.figures import Curve, curve_chart
from raymetrics.reports.sample_images import SampleImages
from raymetrics.reports.terminal import align_columns, format_value
from raymetrics.results import Result

_SCHEME_KEY = "drawn"  # in the convention of a result: how its samples were drawn
_RANDOM_SCHEME = "random"
_CLASS_COUNT_PATTERN = re.compile(r"(top_n|middle_n):(\d+)")


@dataclass(frozen=True)
class ResamplingCell:
    """A number of one way of drawing."""

    text: str
    change: str  # against random draws


@dataclass(frozen=True)
class ResamplingRow:
    """A metric in a space, over the ways of drawing."""

    label: str
    matched_or_second_opinion: str
    cells: list[ResamplingCell | None]


@dataclass(frozen=True)
class SampleGrid:
    """A grid of samples, or the reason why there is none."""

    title: str
    grid_uri: str | None
    why_no_images: str


@dataclass(frozen=True)
class ResamplingTable:
    """The numbers of draws, side by side."""

    schemes: list[str]
    rows: list[ResamplingRow]
    summary_sentences: list[str]

    def __str__(self) -> str:
        """As text, with what the distances say below."""
        cells = [["", "", *self.schemes]]
        for row in self.rows:
            texts = [f"{cell.text} {cell.change}".strip() if cell else "" for cell in row.cells]
            cells.append([row.label, row.matched_or_second_opinion, *texts])
        return "\n".join(
            [align_columns(cells), "", *map(escape_unprintable, self.summary_sentences)]
        )


@dataclass(frozen=True)
class ResamplingSection:
    """All that a page shows of comparable draws."""

    title: str
    table: ResamplingTable
    class_count_figure: str | None  # a figure
    sample_grids: list[SampleGrid]


def is_resampled(result: Result) -> bool:
    """Whether a result is of draws."""
    return _SCHEME_KEY in result.convention


_ResultsByScheme = dict[
    str, dict[str, Result]
]  # by the way of drawing, and by the label without it


def resampling_sections(results: Sequence[Result], images: SampleImages) -> list[ResamplingSection]:
    """What a page shows of those results that are of draws: one part for all that were drawn from
    the same candidates, as many, and as often, so that they can be compared."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in filter(is_resampled, results):
        convention = result.convention
        groups.setdefault(tuple(map(convention.get, ("candidates", "n", "seeds"))), []).append(
            result
        )
    return [_resampling_section(group, images) for group in groups.values()]


def _resampling_section(results: Sequence[Result], images: SampleImages) -> ResamplingSection:
    """What a page shows of comparable draws."""
    by_scheme = _group_by_scheme(results)
    convention = results[0].convention
    title = f"{convention['seeds']} draws of {convention['n']:,} from {convention['candidates']:,} generated samples"
    sample_grids = _sample_grids(by_scheme, images)
    return ResamplingSection(
        title,
        resampling_table(results),
        _class_count_figure(by_scheme, _matched_extractors(by_scheme)),
        sample_grids,
    )


def resampling_table(results: Sequence[Result]) -> ResamplingTable:
    """The numbers of comparable draws."""
    by_scheme = _group_by_scheme(results)
    matched_by = _matched_extractors(by_scheme)
    labels = list(
        dict.fromkeys(label for scheme_results in by_scheme.values() for label in scheme_results)
    )
    rows = [_resampling_row(label, by_scheme, matched_by) for label in labels]
    return ResamplingTable(
        list(by_scheme),
        sorted(rows, key=lambda row: row.matched_or_second_opinion),
        [
            _summary_sentence(scheme, by_scheme, matched_by)
            for scheme in by_scheme
            if scheme != _RANDOM_SCHEME and _RANDOM_SCHEME in by_scheme
        ],
    )


def _group_by_scheme(results: Sequence[Result]) -> _ResultsByScheme:
    """The results of draws, sorted."""
    by_scheme: _ResultsByScheme = {}
    for result in results:
        scheme = str(result.convention[_SCHEME_KEY])
        by_scheme.setdefault(scheme, {})[result.label.removesuffix(f", {scheme}")] = result
    return by_scheme


def _matched_extractors(by_scheme: _ResultsByScheme) -> set[str]:
    """The extractors in whose space something was matched."""
    names = [
        r.convention.get("matched_by")
        for scheme_results in by_scheme.values()
        for r in scheme_results.values()
    ]
    return {str(name) for name in names if name is not None}


def _resampling_row(label: str, by_scheme: _ResultsByScheme, matched_by: set[str]) -> ResamplingRow:
    """One line of the table."""
    results = [scheme_results.get(label) for scheme_results in by_scheme.values()]
    first = next(result for result in results if result)
    is_matched = first.space["name"] in matched_by
    base = by_scheme.get(_RANDOM_SCHEME, {}).get(label)
    cells = [
        None
        if r is None
        else ResamplingCell(format_value(r.value, r.spread), _percent_change(r, base))
        for r in results
    ]
    return ResamplingRow(label, "matched in this space" if is_matched else "second opinion", cells)


def _percent_change(result: Result, base: Result | None) -> str:
    """ "-35 %" against the random draws; nothing for these themselves."""
    if base is None or base is result or base.value <= 0:
        return ""
    return f"{100 * (result.value / base.value - 1):+.0f} %".replace("-", "\u2212")


def _summary_sentence(scheme: str, by_scheme: _ResultsByScheme, matched_by: set[str]) -> str:
    """What the Frechet distances say of a way, in a sentence (section 3 of the paper)."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    for label, result in by_scheme[scheme].items():
        base = by_scheme[_RANDOM_SCHEME].get(label)
        if result.metric == "frechet_distance" and base is not None:
            parts[result.space["name"] in matched_by].append(
                f"{label} {_change_in_words(result, base)}"
            )
    matched_text, second_opinions = (", ".join(parts[kind]) for kind in (True, False))
    second_text = (
        f"; the second opinion: {second_opinions}"
        if second_opinions
        else "; there is no second opinion"
    )
    return f"{scheme[0].upper()}{scheme[1:]}: {matched_text}{second_text}."


def _change_in_words(result: Result, base: Result) -> str:
    """ "falls by 35 %", or that it moves no more than the seeds differ."""
    difference = result.value - base.value
    if abs(difference) <= (result.spread or 0) + (base.spread or 0):
        return "moves no more than the seeds differ"
    return f"{'falls' if difference < 0 else 'rises'} by {100 * abs(difference / base.value):.0f} %"


def _class_count_figure(by_scheme: _ResultsByScheme, matched_by: set[str]) -> str | None:
    """Distances over N, relative to random draws (Fig. 6); None without several N."""
    lines: dict[tuple[str, str, bool], list[tuple[int, float, float]]] = {}
    for scheme_results in by_scheme.values():
        for label, result in scheme_results.items():
            match = _CLASS_COUNT_PATTERN.fullmatch(str(result.convention.get("match", "")))
            base = by_scheme.get(_RANDOM_SCHEME, {}).get(label)
            if match and base and result.metric == "frechet_distance":
                point = int(match[2]), result.value / base.value, (result.spread or 0) / base.value
                is_matched = result.space["name"] in matched_by
                lines.setdefault((match[1], label, is_matched), []).append(point)
    if max(map(len, lines.values()), default=0) < 2:
        return None
    kinds = sorted({kind for kind, _, _ in lines}, reverse=True)
    figure_lines = []
    for (kind, label, is_matched), points in lines.items():
        n, values, spreads = np.array(sorted(points)).T
        figure_lines.append(
            Curve(f"{label}, {kind}", n, values, spreads, kinds.index(kind), not is_matched)
        )
    return curve_chart(figure_lines, "N classes matched", "distance / that of random draws")


def _sample_grids(by_scheme: _ResultsByScheme, images: SampleImages) -> list[SampleGrid]:
    """Samples of every way (Fig. 13), and those of the smallest and largest weights (Fig. 5)."""
    grids = []
    for scheme, scheme_results in by_scheme.items():
        result = next(iter(scheme_results.values()))
        grids.append(_sample_grid(scheme, result, result.details.get("shown", []), images))
        for extreme in ("smallest", "largest"):
            if extreme in result.details:
                title = f"{scheme}: the {extreme} weights"
                grids.append(_sample_grid(title, result, result.details[extreme], images))
    return grids


def _sample_grid(
    title: str, result: Result, ids: Sequence[int], images: SampleImages
) -> SampleGrid:
    """Draw samples of the generated side as a grid; without one it says why."""
    try:
        return SampleGrid(title, images.image_grid_uri(result.generated, ids), "")
    except RaymetricsError as error:
        return SampleGrid(title, None, str(error))
