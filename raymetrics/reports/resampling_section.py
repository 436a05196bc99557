"""Show ways of drawing from a set side by side, in the space that was matched and in others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.printable import escape_unprintable
from raymetrics.reports.figures import Curve, curve_chart
from raymetrics.reports.sample_images import SampleImages, data_uri, resize_picture, tile_grid
from raymetrics.reports.terminal import align_columns, format_value
from raymetrics.results import Result

_RANDOM_SCHEME = "random"
# 144 samples as the paper's program shows them, small enough for a page of many grids.
_GRID_COLUMNS, _TILE_SIZE = 16, 56


@dataclass(frozen=True)
class ResamplingCell:
    """The value of one way of drawing."""

    text: str
    change: str  # from random draws


@dataclass(frozen=True)
class ResamplingRow:
    """A metric in a space, for all ways of drawing."""

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
    """The values of all ways of drawing, side by side."""

    schemes: list[str]
    rows: list[ResamplingRow]
    summary_sentences: list[str]

    def __str__(self) -> str:
        """Return the table as text, with a summary of the distances below."""
        cells = [["", "", *self.schemes]]
        for row in self.rows:
            texts = [f"{cell.text} {cell.change}".strip() if cell else "" for cell in row.cells]
            cells.append([row.label, row.matched_or_second_opinion, *texts])
        return "\n".join(
            [align_columns(cells), "", *map(escape_unprintable, self.summary_sentences)]
        )


@dataclass(frozen=True)
class ResamplingSection:
    """The part of a page that shows comparable ways of drawing."""

    title: str
    table: ResamplingTable
    class_count_figure: str | None  # SVG
    trace_figure: str | None  # SVG
    sample_grids: list[SampleGrid]


def is_resampled(result: Result) -> bool:
    """Return whether a result is about samples that were drawn from a generated set."""
    return "scheme" in result.subset


# By the way of drawing, then by the name of the measure.
_ResultsByScheme = dict[str, dict[str, Result]]


def resampling_sections(results: Sequence[Result], images: SampleImages) -> list[ResamplingSection]:
    """Return a section for every group of comparable draws: as many samples, with as many seeds,
    from as many candidates. Other results are left out.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in filter(is_resampled, results):
        counts = tuple(map(result.subset.get, ("candidates", "n", "seeds")))
        groups.setdefault(counts, []).append(result)
    return [_resampling_section(group, images) for group in groups.values()]


def _resampling_section(results: Sequence[Result], images: SampleImages) -> ResamplingSection:
    """Return the section of comparable draws."""
    by_scheme = _group_by_scheme(results)
    subset = results[0].subset
    return ResamplingSection(
        f"{subset['seeds']} draws of {subset['n']:,} from {subset['candidates']:,} generated "
        "samples",
        resampling_table(results),
        _class_count_figure(by_scheme, _matched_extractors(by_scheme)),
        _trace_figure(by_scheme, _matched_extractors(by_scheme)),
        _sample_grids(by_scheme, images),
    )


def resampling_table(results: Sequence[Result]) -> ResamplingTable:
    """Return the values of comparable draws side by side."""
    by_scheme = _group_by_scheme(results)
    matched_by = _matched_extractors(by_scheme)
    names = dict.fromkeys(name for by_name in by_scheme.values() for name in by_name)
    rows = [_resampling_row(name, by_scheme, matched_by) for name in names]
    compared = [s for s in by_scheme if s != _RANDOM_SCHEME] if _RANDOM_SCHEME in by_scheme else []
    return ResamplingTable(
        list(by_scheme),
        sorted(rows, key=lambda row: row.matched_or_second_opinion),
        [_summary_sentence(scheme, by_scheme, matched_by) for scheme in compared],
    )


def _group_by_scheme(results: Sequence[Result]) -> _ResultsByScheme:
    """Return the results of draws, by the way of drawing and the measure."""
    by_scheme: _ResultsByScheme = {}
    for result in results:
        by_scheme.setdefault(result.subset["scheme"], {})[result.measure_name] = result
    return by_scheme


def _matched_extractors(by_scheme: _ResultsByScheme) -> set[str]:
    """Return the extractors in whose space something was matched."""
    results = (result for by_name in by_scheme.values() for result in by_name.values())
    return {r.subset["matched_by"] for r in results if "matched_by" in r.subset}


def _resampling_row(label: str, by_scheme: _ResultsByScheme, matched_by: set[str]) -> ResamplingRow:
    """Return one line of the table."""
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
    """Return "-35 %", the change from random draws; "" for random draws, and if there are none."""
    if base is None or base is result or base.value <= 0:
        return ""
    return f"{100 * (result.value / base.value - 1):+.0f} %".replace("-", "\u2212")


def _summary_sentence(scheme: str, by_scheme: _ResultsByScheme, matched_by: set[str]) -> str:
    """Return how a way of drawing changes the Fréchet distances, as a sentence.

    As in section 3 of Kynkäänniemi et al. (2023).
    """
    parts: dict[bool, list[str]] = {True: [], False: []}
    for label, result in by_scheme[scheme].items():
        base = by_scheme[_RANDOM_SCHEME].get(label)
        if result.metric == "frechet_distance" and base is not None:
            parts[result.space["name"] in matched_by].append(
                f"{label} {_change_in_words(result, base)}"
            )
    matched_text, second_opinions = (", ".join(parts[kind]) for kind in (True, False))
    second_text = f"the second opinion: {second_opinions}"
    if not second_opinions:
        second_text = "there is no second opinion"
    return f"{scheme[:1].upper()}{scheme[1:]}: {matched_text}; {second_text}."


def _change_in_words(result: Result, base: Result) -> str:
    """Return "falls by 35 %", or that the distance moves no more than the seeds differ."""
    difference = result.value - base.value
    if abs(difference) <= (result.spread or 0) + (base.spread or 0):
        return "moves no more than the seeds differ"
    if base.value <= 0:
        return f"rises from {format_value(base.value, base.spread)}"
    return f"{'falls' if difference < 0 else 'rises'} by {100 * abs(difference / base.value):.0f} %"


def _class_count_figure(by_scheme: _ResultsByScheme, matched_by: set[str]) -> str | None:
    """Return distances over the number of matched classes, relative to random draws (Fig. 6 of
    Kynkäänniemi et al. 2023); None unless a line has two points.
    """
    lines: dict[tuple[str, str, bool], list[tuple[int, float, float]]] = {}
    for scheme_results in by_scheme.values():
        for label, result in scheme_results.items():
            classes = result.subset.get("classes")
            base = by_scheme.get(_RANDOM_SCHEME, {}).get(label)
            is_distance = result.metric == "frechet_distance"
            if classes and base and base.value > 0 and is_distance:
                point = classes, result.value / base.value, (result.spread or 0) / base.value
                is_matched = result.space["name"] in matched_by
                lines.setdefault((result.subset["match"], label, is_matched), []).append(point)
    if max(map(len, lines.values()), default=0) < 2:
        return None
    kinds = sorted({kind for kind, _, _ in lines}, reverse=True)
    figure_lines = [
        Curve(
            f"{label}, {kind}", n, values, spreads, color=kinds.index(kind), dashed=not is_matched
        )
        for (kind, label, is_matched), points in lines.items()
        for n, values, spreads in [np.array(sorted(points)).T]
    ]
    return curve_chart(figure_lines, "N classes matched", "distance / that of random draws")


def _trace_figure(by_scheme: _ResultsByScheme, matched_by: set[str]) -> str | None:
    """Return distances of draws on the way to the weights, relative to random draws; None without
    them.
    """
    curves = []
    for index, (scheme, scheme_results) in enumerate(by_scheme.items()):
        for label, result in scheme_results.items():
            points = result.details.get("trace", ())
            base = by_scheme.get(_RANDOM_SCHEME, {}).get(label)
            if len(points) < 2 or base is None or base.value <= 0:
                continue
            x, y, spreads = np.array([[p["evaluations"], p["mean"], p["spread"]] for p in points]).T
            is_second = result.space["name"] not in matched_by
            name = f"{label}, {scheme}"
            curves.append(Curve(name, x, y / base.value, spreads / base.value, index, is_second))
    if not curves:
        return None
    return curve_chart(curves, "evaluations", "draws on the way / random draws")


def _sample_grids(by_scheme: _ResultsByScheme, images: SampleImages) -> list[SampleGrid]:
    """Return a part of a draw of every way, with its repetitions (Fig. 13 of Kynkäänniemi et al.
    2023), and samples of the smallest and of the largest weights (Fig. 5, 14).
    """
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
    """Return samples of the generated side as a grid, or the reason why there is none."""
    try:
        return SampleGrid(title, _grid_uri(result, ids, images), "")
    except RaymetricsError as error:
        return SampleGrid(title, None, str(error))


def _grid_uri(result: Result, ids: Sequence[int], images: SampleImages) -> str:
    """Return samples as a grid inside a page; one that is repeated is made once."""
    if not ids:
        raise RaymetricsError("the result names no samples")
    unique, rows = np.unique(np.asarray(ids, np.int64), return_inverse=True)
    tiles = [_small_tile(image) for image in images.regenerate_images(result.generated, unique)]
    return data_uri(tile_grid([tiles[row] for row in rows], _GRID_COLUMNS))


def _small_tile(image: np.ndarray) -> np.ndarray:
    """Return an image uint8 [3, h, w] as a tile uint8 [h', w', 3] of at most _TILE_SIZE."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    return resize_picture(pixels, max(1, _TILE_SIZE // max(pixels.shape[:2])), _TILE_SIZE)
