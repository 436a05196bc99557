"""Write a file of results as one self-contained HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from raymetrics import results
from raymetrics.errors import RaymetricsError
from raymetrics.metrics.correlation import pearson_correlation
from raymetrics.permissions import Permission
from raymetrics.reports.evaluate_command import evaluate_command
from raymetrics.reports.figures import scatter_chart
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.number_cards import NumberCard, make_cards
from raymetrics.reports.number_table import NumberTable, number_table, to_csv
from raymetrics.reports.resampling_section import (
    ResamplingSection,
    is_resampled,
    resampling_sections,
)
from raymetrics.reports.sample_images import GRID_COLUMNS, SampleImages
from raymetrics.reports.sensitivity_section import sensitivity_sections
from raymetrics.reports.sweep_section import tradeoff_sections
from raymetrics.reports.terminal import format_convention, format_value
from raymetrics.results import Result, Side
from raymetrics.statistics import Histogram

SAMPLES_SHOWN = 60  # samples of a side
SAMPLES_SHOWN_FOLDED = 10  # where comparisons are many, since every image is made again
_EXTREMES_SHOWN = 20  # samples
_MAX_CLASSES = 25
_MAX_UNFOLDED = 4  # comparisons below the section of a sweep
MAX_FOLDED_WITH_IMAGES = 50  # comparisons; each loads a generator, and takes room on the page


@dataclass(frozen=True)
class _SidePanel:
    """One side of a comparison, with a picture of its samples or the reason why there is none."""

    role: str
    side: Side
    grid_uri: str | None
    shown_ids: list[int]
    why_no_images: str | None


@dataclass(frozen=True)
class _ClassBar:
    """One class of a histogram; shares in 0..1."""

    name: str
    real: float
    generated: float


@dataclass(frozen=True)
class _ClassHistogram:
    """The commonest real classes of a Top-1 histogram."""

    space: str
    bars: list[_ClassBar]
    hidden_classes: int  # classes that occur and are not shown
    largest_share: float


@dataclass(frozen=True)
class _Extremes:
    """The most or the least realistic generated samples in a space, or why they are not shown."""

    title: str
    grid_uri: str | None
    ids: list[int]
    why_no_images: str = ""


@dataclass(frozen=True)
class _Comparison:
    """All results of the same two sets."""

    real: _SidePanel
    generated: _SidePanel
    results: list[Result]
    spaces: dict[str, list[Result]]  # of whole sides
    cards: dict[str, list[NumberCard]]  # the same, as they stand on the page
    warnings: list[str]
    command: str  # that computes them again; "" where there is none
    extremes: list[_Extremes]
    resampling: list[ResamplingSection]
    histograms: list[_ClassHistogram]


def report(
    path: str | Path | Sequence[str | Path],
    *,
    to: str | Path,
    run_code: bool = False,
    written: Collection[str] = (),
) -> Path:
    """Write one or several files of results as the page `to`/index.html, and return its path.

    Sample grids are made again from the ids, if the source and the shards can be opened; else the
    page states the reason. Sources that are programs, and addresses of other machines, are opened
    only with run_code, or if they are among `written`, the texts that the user wrote; see
    `raymetrics.permissions`. The page loads no other file; it links to the pages in folders below
    its own.

    Raise ResultsFileError for a file that holds no results, StorageError if the page cannot be
    written.
    """
    paths = [path] if isinstance(path, str | Path) else list(path)
    read = [result for file in paths for result in results.read_results(file)]
    all_results = [result for result in read if not result.is_variation]
    tradeoffs, groups = tradeoff_sections(all_results), _group_by_sides(all_results)
    folded = bool(tradeoffs) and len(groups) > _MAX_UNFOLDED
    images = SampleImages(Permission(run_code, frozenset(written)))
    comparisons = [
        _comparison(group, _samples_shown(i, folded=folded), images)
        for i, group in enumerate(groups)
    ]
    text = render_template(
        "comparison_page.html",
        tradeoffs=tradeoffs,
        sensitivities=sensitivity_sections(read),
        comparisons=comparisons,
        failures=[failure for file in paths for failure in results.read_failures(file)],
        table=_table_of_sets(all_results, groups, is_sweep=bool(tradeoffs)),
        versions=_versions(all_results),
        title=_title(groups),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        folded=folded,
        below=_subfolder_pages(to),
        correlations=_correlations(comparisons),
        number=format_value,
        protocol=format_convention,
        provenance=_provenance_json,
        samples=_format_sample_count,
        grid_columns=GRID_COLUMNS,
    )
    return write_page(text, to)


@dataclass(frozen=True)
class _SetsTable:
    """The numbers of all sets, with the table as CSV behind a link."""

    table: NumberTable
    csv_uri: str


def _table_of_sets(
    all_results: Sequence[Result], groups: Sequence[Sequence[Result]], *, is_sweep: bool
) -> _SetsTable | None:
    """Return one table of all numbers; None for draws alone. A sweep of many has its own."""
    table = number_table(all_results)
    if not table.rows or (is_sweep and len(groups) > 1):
        return None
    return _SetsTable(table, f"data:text/csv;charset=utf-8,{quote(to_csv(table))}")


def _title(groups: Sequence[Sequence[Result]]) -> str:
    """Return "digits against mnist", or how many sets were measured."""
    generated = {group[0].generated.source for group in groups}
    real = {group[0].real.source for group in groups}
    names = [", ".join(sorted(side)) if len(side) == 1 else f"{len(side)} sets"
             for side in (generated, real)]  # fmt: skip
    return f"{names[0]} against {names[1]}"


def _versions(all_results: Sequence[Result]) -> str:
    """Return the versions with which the newest result was computed, in words."""
    provenance = all_results[-1].provenance
    names = ("raymetrics", "python", "torch", "numpy")
    versions = provenance.get("versions", provenance)
    known = [(n, versions.get(n)) for n in names if isinstance(versions, Mapping)]
    return ", ".join(f"{name} {version}" for name, version in known if version)


def _subfolder_pages(folder: str | Path) -> dict[str, str]:
    """Return the relative addresses of the pages in folders directly below, by folder name."""
    names = sorted(path.parent.name for path in Path(folder).glob("*/index.html"))
    return {name: quote(os.fsencode(name)) for name in names}


def _group_by_sides(all_results: Sequence[Result]) -> list[list[Result]]:
    """Return the results by the two sets that they compare; of repeated results the newest."""
    newest: dict[tuple[object, ...], dict[str, Result]] = {}
    for result in all_results:
        real, generated = result.real, result.generated
        # All engines give the same numbers.
        convention = {k: v for k, v in result.convention.items() if k != "engine"}
        facts = [result.measure_name, result.space, convention, result.subset]
        key = json.dumps(facts, sort_keys=True)
        newest.setdefault((real.identity, generated.identity), {})[key] = result
    return [list(pair_results.values()) for pair_results in newest.values()]


def _samples_shown(index: int, *, folded: bool) -> int:
    """Return how many samples of each side the i-th comparison shows."""
    if not folded:
        return SAMPLES_SHOWN
    return SAMPLES_SHOWN_FOLDED if index < MAX_FOLDED_WITH_IMAGES else 0


def _comparison(pair_results: list[Result], shown_count: int, images: SampleImages) -> _Comparison:
    """Return the results of one pair of sets for the page, with so many samples of each set."""
    spaces: dict[str, list[Result]] = {}
    for result in pair_results:
        if not is_resampled(result):
            spaces.setdefault(str(result.space["name"]), []).append(result)
    first = pair_results[0]
    real, generated = first.real.with_all_samples(), first.generated.with_all_samples()
    return _Comparison(
        real=_side_panel("real", real, shown_count, images),
        generated=_side_panel("generated", generated, shown_count, images),
        results=pair_results,
        spaces=spaces,
        cards={space: make_cards(in_space) for space, in_space in spaces.items()},
        warnings=list(dict.fromkeys(w for result in pair_results for w in result.warnings)),
        command=evaluate_command(pair_results),
        extremes=_realism_extremes(pair_results, images) if shown_count else [],
        resampling=resampling_sections(pair_results, images),
        histograms=[_class_histogram(r) for r in pair_results if r.metric == "top1_distance"],
    )


def _realism_extremes(results_of_pair: Sequence[Result], images: SampleImages) -> list[_Extremes]:
    """Return the most and the least realistic samples of every result that knows them."""
    extremes = []
    for result in results_of_pair:
        for key, word in (("highest", "most"), ("lowest", "least")):
            pairs = result.details.get(key) if result.metric == "realistic" else None
            if not pairs:
                continue
            ids = [int(pair[0]) for pair in pairs[:_EXTREMES_SHOWN]]
            title = f"the {word} realistic, {result.space_name}"
            try:
                extremes.append(_Extremes(title, images.image_grid_uri(result.generated, ids), ids))
            except RaymetricsError as error:
                extremes.append(_Extremes(title, None, ids, str(error)))
    return extremes


@dataclass(frozen=True)
class _Correlation:
    """Distances of features against distances of logits, over several sets."""

    space: str
    set_count: int
    coefficient: float
    figure: str


def _correlations(comparisons: Sequence[_Comparison]) -> list[_Correlation]:
    """Return a correlation for every space in which three sets or more have both distances, as in
    Fig. 9 of Kynkäänniemi et al. (2023).
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for comparison in comparisons:
        for space, space_results in comparison.spaces.items():
            values = {
                str(result.space["output"]): result.value
                for result in space_results
                if result.metric == "frechet_distance"
            }
            logits = values.pop("logits", None)
            if logits is not None and values:
                points.setdefault(space, []).append((next(iter(values.values())), logits))
    feature_correlations = []
    for space, pairs in points.items():
        if len(pairs) > 2:
            x, y = zip(*pairs, strict=True)
            figure = scatter_chart(x, y, f"distance, features of {space}", "distance, logits")
            coefficient = pearson_correlation(x, y)
            feature_correlations.append(_Correlation(space, len(pairs), coefficient, figure))
    return feature_correlations


def _format_sample_count(side: Side) -> str:
    """Return "2,000 samples"."""
    return "unknown samples" if side.count is None else f"{side.count:,} samples"


def _side_panel(role: str, side: Side, shown_count: int, images: SampleImages) -> _SidePanel:
    """Return a side with a picture of evenly spaced samples, or the reason why there is none."""
    if not shown_count:
        reason = f"only the first {MAX_FOLDED_WITH_IMAGES} sets have pictures here"
        return _SidePanel(role, side, None, [], reason)
    try:
        ids = images.sample_ids(side, shown_count)
        return _SidePanel(role, side, images.image_grid_uri(side, ids), [int(i) for i in ids], None)
    except RaymetricsError as error:
        return _SidePanel(role, side, None, [], str(error))


def _class_histogram(result: Result) -> _ClassHistogram:
    """Return the commonest real classes, as in Fig. 4a of Kynkäänniemi et al. (2023)."""
    sides = (result.details[side] for side in ("real", "generated"))
    real, generated = (Histogram(np.array(counts)).shares for counts in sides)
    occurring = np.flatnonzero(real + generated)
    order = occurring[np.lexsort((occurring, -generated[occurring], -real[occurring]))]
    names = result.details["class_names"]
    bars = [
        _ClassBar(names[c] if c < len(names) else str(c), float(real[c]), float(generated[c]))
        for c in order[:_MAX_CLASSES]
    ]
    largest_share = max(max(bar.real, bar.generated) for bar in bars)
    title = ", ".join([str(result.space["name"]), *_subset_texts(result.subset)])
    return _ClassHistogram(title, bars, max(0, len(order) - _MAX_CLASSES), largest_share)


def _subset_texts(subset: Mapping[str, Any]) -> list[str]:
    """Return the subset of a result in words: "label 3", or how its samples were drawn."""
    texts = {"label": f"label {subset.get('label')}", "scheme": str(subset.get("scheme"))}
    return [text for field, text in texts.items() if field in subset]


def _provenance_json(result: Result) -> str:
    """Return all fields of a result but its arrays, as indented JSON."""
    hidden = ("details", "errors")
    value: dict[str, Any] = {k: v for k, v in asdict(result).items() if k not in hidden}
    return json.dumps(value, indent=1)
