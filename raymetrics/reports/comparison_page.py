"""Write a file of results as one self-contained HTML page."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from raymetrics import results
from raymetrics.errors import RaymetricsError
from raymetrics.metrics.correlation import pearson_correlation
from raymetrics.permissions import Permission
from raymetrics.reports.figures import scatter_chart
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.resampling_section import (
    ResamplingSection,
    is_resampled,
    resampling_sections,
)
from raymetrics.reports.sample_images import SampleImages
from raymetrics.reports.sweep_section import tradeoff_sections
from raymetrics.reports.terminal import format_convention, format_value
from raymetrics.results import Result, Side
from raymetrics.statistics import Histogram

SAMPLES_SHOWN = 60  # samples of a side
SAMPLES_SHOWN_FOLDED = 10  # where comparisons are many, since every image is made again
_MAX_CLASSES = 25
_MAX_UNFOLDED = 4  # comparisons below the section of a sweep
MAX_FOLDED_WITH_IMAGES = 50  # comparisons; each loads a generator, and takes room on the page


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
    """Write a file of results as the page `to`/index.html, and return its path.

    Sample grids are made again from the ids, if the source and the shards can be opened; else the
    page states the reason. Sources that are programs, and addresses of other machines, are opened
    only with run_code, or if they are among `written`, the texts that the user wrote; see
    `raymetrics.permissions`. The page loads no other file; it links to the pages in folders below
    its own.

    Raise ResultsFileError for a file that holds no results, StorageError if the page cannot be
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
        resampling=resampling_sections(pair_results, images),
        histograms=[_class_histogram(r) for r in pair_results if r.metric == "top1_distance"],
    )


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
        return _SidePanel(role, side, None, 0, reason)
    try:
        ids = images.sample_ids(side, shown_count)
        return _SidePanel(role, side, images.image_grid_uri(side, ids), len(ids), None)
    except RaymetricsError as error:
        return _SidePanel(role, side, None, 0, str(error))


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
    value: dict[str, Any] = {k: v for k, v in asdict(result).items() if k != "details"}
    return json.dumps(value, indent=1)
