"""Write a page of reproduced tables and figures, with what the papers claim of them.

The figures are drawn as the papers draw theirs. Their entries in the recipes have a kind: "curves",
"scatter", "points", "tradeoff" and "paths" are charts, "grid" is a grid of samples, "classes" are
bars, "picture" is a file that a step wrote, "page" is a link to one.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.files import storage_errors
from raymetrics.metrics.pareto import pareto_frontier
from raymetrics.permissions import Permission
from raymetrics.reports.figures import Line, line_chart
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.sample_images import SampleImages
from raymetrics.results import Result
from raymetrics.studies.papers.cells import find_results
from raymetrics.studies.papers.claims import Curve
from raymetrics.studies.papers.recipes import MINI, Query, fill_text
from raymetrics.studies.papers.reproduce import ItemOutcome

_CLASSES_SHOWN = 25  # as in Fig. 4a of Kynkaanniemi et al. (2023)
_GRID_SAMPLES = 60
_PATHS_SHOWN = 6


@dataclass(frozen=True)
class Figure:
    """A figure of an item: an SVG, a picture, a link to a page, or why there is none."""

    title: str
    svg: str = ""
    picture: str = ""
    link: str = ""
    problem: str = ""


@dataclass(frozen=True)
class ClassBar:
    """The share of a class on both sides."""

    name: str
    real: float
    generated: float


@dataclass(frozen=True)
class ItemSection:
    """The part of the page about one item."""

    outcome: ItemOutcome
    figures: Sequence[Figure] = ()
    bars: Sequence[ClassBar] = field(default_factory=tuple)

    @property
    def is_mini(self) -> bool:
        """Whether the demo's parts stood for the paper's."""
        return self.outcome.dataset == MINI


def write_reproduction_page(
    outcomes: Sequence[ItemOutcome], to: str, permission: Permission
) -> Path:
    """Write index.html of all items into a folder. Raise StorageError if it cannot be written."""
    images = SampleImages(permission)
    sections = [_item_section(outcome, to, images) for outcome in outcomes]
    return write_page(render_template("reproduction_page.html", sections=sections), to)


def _item_section(outcome: ItemOutcome, to: str, images: SampleImages) -> ItemSection:
    """Return the section of an item with its figures."""
    if outcome.problem is not None:
        return ItemSection(outcome)
    figures = [
        _figure(entry, outcome, to, images)
        for entry in outcome.recipe.figures
        if entry["kind"] != "classes"
    ]
    bars = [
        bar
        for entry in outcome.recipe.figures
        if entry["kind"] == "classes"
        for bar in _class_bars(_result_of(entry, outcome))
    ]
    return ItemSection(outcome, figures, bars)


def _figure(
    entry: Mapping[str, Any], outcome: ItemOutcome, to: str, images: SampleImages
) -> Figure:
    """Return one figure of an item; one that says why there is none if it cannot be drawn."""
    title = str(entry["title"])
    try:
        if entry["kind"] in _CHARTS:
            return Figure(title, svg=_CHARTS[entry["kind"]](entry, outcome))
        if entry["kind"] == "grid":
            return Figure(title, picture=_grid(entry, outcome, images))
        file = fill_text(entry["file"], outcome.names)
        if entry["kind"] == "picture":
            return Figure(title, picture=_picture(Path(file)))
        return Figure(title, link=str(Path(file).relative_to(to)))
    except RaymetricsError as error:
        return Figure(title, problem=str(error))


def _curves(outcome: ItemOutcome, names: Sequence[str]) -> list[Curve]:
    return [(outcome.curves or {})[name] for name in names]


def _curve_chart(entry: Mapping[str, Any], outcome: ItemOutcome) -> str:
    """Draw series over their keys, relative to cells where the entry names some."""
    solid, dashed = entry["lines"], entry.get("dashed", [])
    scales = {cell.name: cell.ours.value for cell in outcome.cells}
    relative = entry.get("relative_to", [None] * len([*solid, *dashed]))
    lines = []
    for style, (name, curve, scale) in enumerate(
        zip([*solid, *dashed], _curves(outcome, [*solid, *dashed]), relative, strict=True)
    ):
        y = curve.values / (scales[scale] if scale else 1)
        is_dashed = name in dashed
        color = style - len(solid) if is_dashed else style
        lines.append(Line(name, curve.keys, y.tolist(), color, stroke="--" if is_dashed else "-"))
    is_log = entry.get("log", False)
    return line_chart(lines, entry["x_label"], entry["y_label"], from_zero=True, log=is_log)


def _scatter(entry: Mapping[str, Any], outcome: ItemOutcome) -> str:
    """Draw the points of two series over the same keys."""
    x, y = _curves(outcome, [entry["x"], entry["y"]])
    texts = [f"{key:g}" for key in x.keys]
    line = Line("", x.values.tolist(), y.values.tolist(), 0, stroke="", texts=texts)
    return line_chart([line], entry["x_label"], entry["y_label"], from_zero=True)


def _points(entry: Mapping[str, Any], outcome: ItemOutcome) -> str:
    """Draw single cells as named points."""
    values = {cell.name: cell.ours.value for cell in outcome.cells}
    lines = [
        Line("", [values[x]], [values[y]], style, stroke="", size=7, texts=[name])
        for style, (x, y, name) in enumerate(
            zip(entry["x"], entry["y"], entry["names"], strict=True)
        )
    ]
    return line_chart(lines, entry["x_label"], entry["y_label"], from_zero=True)


def _tradeoff(entry: Mapping[str, Any], outcome: ItemOutcome) -> str:
    """Draw y against x, a line for each pair of series, or points with their Pareto frontier."""
    lines = []
    for style, (x, y, name) in enumerate(zip(entry["x"], entry["y"], entry["names"], strict=True)):
        x_values, y_values = (curve.values for curve in _curves(outcome, [x, y]))
        has_frontier = entry.get("frontier", False)
        stroke = "" if has_frontier else "-"
        lines.append(Line(name, x_values.tolist(), y_values.tolist(), style, stroke=stroke))
        if has_frontier:
            best = pareto_frontier(np.stack([x_values, y_values], axis=1))
            frontier = best[np.argsort(x_values[best])]
            points = (x_values[frontier].tolist(), y_values[frontier].tolist())
            lines.append(Line("Pareto frontier", *points, style + 1))
    flipped = entry.get("flipped", False)
    return line_chart(lines, entry["x_label"], entry["y_label"], flipped=flipped)


def _path_chart(entry: Mapping[str, Any], outcome: ItemOutcome) -> str:
    """Draw R along some paths."""
    shown = _result_of(entry, outcome).details["shown"][:_PATHS_SHOWN]
    lines = []
    for style, path in enumerate(shown):
        realism = path["realism"]
        t = np.linspace(0, 1, len(realism)).tolist()
        lines.append(Line(f"path {path['path']}", t, realism, style))
    return line_chart(lines, "t", "R", from_zero=True)


_CHARTS: Mapping[str, Callable[[Mapping[str, Any], ItemOutcome], str]] = {
    "curves": _curve_chart,
    "scatter": _scatter,
    "points": _points,
    "tradeoff": _tradeoff,
    "paths": _path_chart,
}


def _result_of(entry: Mapping[str, Any], outcome: ItemOutcome) -> Result:
    """Return the result that an entry means."""
    query = Query(entry.get("file", "{item}/results.jsonl"), entry["where"])
    return find_results(query, outcome.names)[-1]


def _grid(entry: Mapping[str, Any], outcome: ItemOutcome, images: SampleImages) -> str:
    """Return samples as a grid: those whose ids a detail of the result lists, or some."""
    result = _result_of(entry, outcome)
    ids = _listed_ids(result, entry["ids"]) if "ids" in entry else None
    if ids is None:
        ids = images.sample_ids(result.generated, _GRID_SAMPLES).tolist()
    return images.image_grid_uri(result.generated, ids[:_GRID_SAMPLES])


def _listed_ids(result: Result, name: str) -> list[int]:
    """Return the sample ids in a detail of a result, as "shown"; "groups.highest" is of all groups.

    A detail lists ids, or pairs of an id and its realism.
    """
    group, _, name = name.rpartition(".")
    holders = result.details[group] if group else [result.details]
    rows = [row for holder in holders for row in holder[name]]
    return [row[0] if isinstance(row, list) else row for row in rows]


def _picture(file: Path) -> str:
    """Return a PNG file inside a page. Raise StorageError if it cannot be read."""
    with storage_errors(f"read the picture {file}"):
        return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _class_bars(result: Result) -> list[ClassBar]:
    """Return the shares of the commonest real classes on both sides."""
    real, generated = (np.array(result.details[side], float) for side in ("real", "generated"))
    names = result.details["class_names"]
    order = np.argsort(-real, kind="stable")[:_CLASSES_SHOWN]
    return [
        ClassBar(str(names[c]), real[c] / real.sum(), generated[c] / generated.sum())
        for c in order.tolist()
        if real[c] + generated[c]
    ]
