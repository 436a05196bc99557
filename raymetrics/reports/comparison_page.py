"""One self-contained HTML page from a file of results."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from raymetrics import results
from raymetrics.errors import RaymetricsError
from raymetrics.permissions import Permission
from raymetrics.reports.figures import scatter_chart
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.resampling_section import (
    ResamplingSection,
    is_resampled,
    resampling_sections,
)
from raymetrics.reports.sample_images import SampleImages
from raymetrics.reports.sides import side_key, whole_side
from raymetrics.reports.sweep_section import tradeoff_sections
from raymetrics.reports.terminal import format_convention, format_value
from raymetrics.results import Result, Side

SAMPLES_SHOWN = 60  # samples of a side
SAMPLES_SHOWN_FOLDED = 10  # where comparisons are many, as every image has to be made again
_MAX_CLASSES = 25
_MAX_UNFOLDED = 4  # comparisons below a tradeoff of them all
MAX_FOLDED_WITH_IMAGES = (
    50  # of folded comparisons; each takes a generator to be loaded, and room on the page
)


@dataclass(frozen=True)
class _SidePanel:
    """One side of a comparison, with a picture of its samples or the reason why there is none."""

    role: str
    side: Side
    grid_uri: str | None
    shown_count: int
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
class _Comparison:
    """All results of the same two sets."""

    real: _SidePanel
    generated: _SidePanel
    results: list[Result]
    spaces: dict[str, list[Result]]  # of whole sides
    resampling: list[ResamplingSection]
    histograms: list[_ClassHistogram]


def report(
    path: str | Path, *, to: str | Path, run_code: bool = False, written: Collection[str] = ()
) -> Path:
    """Writes `to`/index.html from a file of results; the path of the page.

    Sample grids are made again from the ids, if the source and the shards are at hand; else the
    page says why not. Sources that are programs, and addresses of other machines, are opened only
    with run_code, or if the user has written them himself; see `raymetrics.permissions`.
    The page holds all that it shows and asks for nothing; it leads to the pages in folders below
    its own. ResultError for a file that holds no results, StorageError if the page cannot be
    written.
    """
    all_results = results.read_results(path)
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
        comparisons=comparisons,
        failures=results.read_failures(path),
        folded=folded,
        below=_subfolder_pages(to),
        correlations=_correlations(comparisons),
        number=format_value,
        protocol=format_convention,
        provenance=_provenance_json,
        samples=_format_sample_count,
    )
    return write_page(text, to)


def _subfolder_pages(folder: str | Path) -> dict[str, str]:
    """The folders directly below one that have pages, by name; their relative addresses."""
    names = sorted(path.parent.name for path in Path(folder).glob("*/index.html"))
    return {name: quote(os.fsencode(name)) for name in names}


def _group_by_sides(all_results: Sequence[Result]) -> list[list[Result]]:
    """The results by the two sets that they compare; of repeated ones the newest."""
    newest: dict[tuple[object, ...], dict[str, Result]] = {}
    for result in all_results:
        real, generated = result.real, result.generated
        sides = (side_key(real), side_key(generated))
        convention = {k: v for k, v in result.convention.items() if k != "engine"}  # all agree
        result_key = json.dumps([result.label, result.space, convention], sort_keys=True)
        newest.setdefault(sides, {})[result_key] = result
    return [list(pair_results.values()) for pair_results in newest.values()]


def _samples_shown(index: int, *, folded: bool) -> int:
    """Samples of either side of the i-th comparison."""
    if not folded:
        return SAMPLES_SHOWN
    return SAMPLES_SHOWN_FOLDED if index < MAX_FOLDED_WITH_IMAGES else 0


def _comparison(pair_results: list[Result], shown_count: int, images: SampleImages) -> _Comparison:
    """The results of one pair of sets, sorted for the page; with so many samples of either."""
    spaces: dict[str, list[Result]] = {}
    for result in pair_results:
        if is_resampled(result):
            continue
        spaces.setdefault(str(result.space["name"]), []).append(result)
    return _Comparison(
        real=_side_panel("real", whole_side(pair_results[0].real), shown_count, images),
        generated=_side_panel(
            "generated", whole_side(pair_results[0].generated), shown_count, images
        ),
        results=pair_results,
        spaces=spaces,
        resampling=resampling_sections(pair_results, images),
        histograms=[_class_histogram(r) for r in pair_results if r.metric == "top1_distance"],
    )


@dataclass(frozen=True)
class _Correlation:
    """Distances from features against those from logits, over several sets."""

    space: str
    set_count: int
    coefficient: float
    figure: str


def _correlations(comparisons: Sequence[_Comparison]) -> list[_Correlation]:
    """One for every space in which three sets or more have both distances, as in Fig. 9 of
    Kynkaanniemi et al. (2023)."""
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
            x, y = np.array(pairs).T
            figure = scatter_chart(x, y, f"distance, features of {space}", "distance, logits")
            feature_correlations.append(
                _Correlation(space, len(pairs), float(np.corrcoef(x, y)[0, 1]), figure)
            )
    return feature_correlations


def _format_sample_count(side: Side) -> str:
    """ "2,000 samples"."""
    return "unknown samples" if side.count is None else f"{side.count:,} samples"


def _side_panel(role: str, side: Side, shown_count: int, images: SampleImages) -> _SidePanel:
    """A side with its picture, of evenly spaced samples; without one if none are to be shown."""
    if not shown_count:
        return _SidePanel(
            role, side, None, 0, f"only the first {MAX_FOLDED_WITH_IMAGES} sets have pictures here"
        )
    try:
        ids = images.sample_ids(side, shown_count)
        return _SidePanel(role, side, images.image_grid_uri(side, ids), len(ids), None)
    except RaymetricsError as error:
        return _SidePanel(role, side, None, 0, str(error))


def _class_histogram(result: Result) -> _ClassHistogram:
    """The CLASSES commonest real classes, as in Fig. 4a of Kynkaanniemi et al. (2023)."""
    counts = [np.array(result.details[side]) for side in ("real", "generated")]
    real, generated = (side_counts / side_counts.sum() for side_counts in counts)
    occurring = np.flatnonzero(real + generated)
    order = occurring[np.lexsort((occurring, -generated[occurring], -real[occurring]))]
    names = result.details["class_names"]
    bars = [
        _ClassBar(names[c] if c < len(names) else str(c), float(real[c]), float(generated[c]))
        for c in order[:_MAX_CLASSES]
    ]
    largest_share = max(max(bar.real, bar.generated) for bar in bars)
    qualifiers = {"label ": result.convention.get("label"), "": result.convention.get("drawn")}
    space = ", ".join(
        [str(result.space["name"]), *(f"{k}{v}" for k, v in qualifiers.items() if v is not None)]
    )
    return _ClassHistogram(space, bars, max(0, len(order) - _MAX_CLASSES), largest_share)


def _provenance_json(result: Result) -> str:
    """All that a result carries but its arrays, as indented JSON."""
    value: dict[str, Any] = {k: v for k, v in asdict(result).items() if k != "details"}
    return json.dumps(value, indent=1)
