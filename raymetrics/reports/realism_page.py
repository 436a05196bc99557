"""Write a page of single samples, by Kynkäänniemi et al. (2019).

The page has the most and the least realistic samples (Fig. 8, 10, 11), and interpolation paths with
their realism (Fig. 9, 12).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raymetrics.errors import RaymetricsError
from raymetrics.permissions import Permission
from raymetrics.reports.figures import COLORS, TEXT_COLOR, new_axes, svg
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.sample_images import SampleImages, data_uri, evenly_spaced, thumbnail
from raymetrics.reports.terminal import format_convention, format_value
from raymetrics.results import Result, Side

_REALISM_METRIC, _STRAYING_METRIC = "realistic", "straying_paths"
_DETAILS_WITH_IMAGES = {"highest", "groups", "shown"}  # a result with one of them has images
MAX_GROUPS = 40  # of many labels; evenly spaced
_CURVE_SIZE = (6.4, 1.3)  # inches, under the images of a path
_PATHS_NOTE = (
    "Paths by the lowest R between their ends: the best, the worst, some between. R over t, each "
    "point below its image; dotted: R = 1, and the R below which an image is off the manifold."
)

_ScoredSample = Sequence[Any]  # [id, R]; R is None where it is infinite


@dataclass(frozen=True)
class Tile:
    """An image with its R below."""

    image: str
    caption: str


@dataclass(frozen=True)
class _RealismGroup:
    """The most and the least realistic of all samples, or of the samples with one label."""

    name: str
    note: str
    highest: list[Tile]
    lowest: list[Tile]


@dataclass(frozen=True)
class _PathFigure:
    """The images of a path from its start to its end, over the curve of their R."""

    title: str
    strays: bool
    tiles: list[Tile]
    curve: str


@dataclass(frozen=True)
class _RealismSection:
    """A result with its images, or the reason why there are none."""

    result: Result
    source: str
    note: str
    groups: list[_RealismGroup]
    paths: list[_PathFigure]
    why_no_images: str | None


def write_realism_page(
    results: Sequence[Result],
    *,
    to: str | Path,
    run_code: bool = False,
    written: Collection[str] = (),
) -> Path:
    """Write results of `raymetrics realism` or `paths` as `to`/index.html; return its path.

    Images are made again from their ids, if the source and the shards can be opened; else the page
    states the reason. Programs and other machines are opened as `report` opens them. The page loads
    no other file. Raise StorageError if it cannot be written.
    """
    images = SampleImages(Permission(run_code, frozenset(written)))
    text = render_template(
        "realism_page.html",
        readings=summary_sentences(results),
        sections=[
            _realism_section(result, images)
            for result in results
            if _DETAILS_WITH_IMAGES & result.details.keys()
        ],
        number=format_value,
        protocol=format_convention,
    )
    return write_page(text, to)


def summary_sentences(results: Sequence[Result]) -> list[str]:
    """Return a sentence for every result of realism or of paths."""
    return [
        _summary_sentence(result)
        for result in results
        if result.metric in (_REALISM_METRIC, _STRAYING_METRIC)
    ]


def _summary_sentence(result: Result) -> str:
    """Return a result in words."""
    space, convention = result.space["name"], result.convention
    if result.metric == _REALISM_METRIC:
        return (
            f"{space}: {100 * result.value:.1f} % of {result.generated.count} samples have R >= 1, "
            "as they lie within a ball of a real sample, of the half with the smaller radii: the "
            "precision with pruned balls."
        )
    low, high = (100 * share for share in result.details["interval"])
    class_note = " within a class" if "within" in convention else ""
    return (
        f"{space}: {100 * result.value:.1f} % of {result.details['paths']} paths{class_note} stray "
        f"({100 * result.details['confidence']:g} % interval {low:.1f} to {high:.1f} %): more than "
        f"{100 * convention['more_than']:g} % of their {convention['steps']} images between have "
        f"R < {convention['below']:g}. Of all images between "
        f"{100 * result.details['realistic']:.1f} % have R >= 1.{_candidates_note(result)}"
    )


def _candidates_note(result: Result) -> str:
    """Return among how many samples the ends were looked for; "" if the result does not say so."""
    found = result.details.get("realistic_candidates")
    if found is None:
        return ""
    looked_at, rule = result.details["ends"]["count"], result.convention["ends"].split(",")[0]
    return f" Ends were looked for among {looked_at} samples; {found} have {rule}."


def _realism_section(result: Result, images: SampleImages) -> _RealismSection:
    """Return a result with its images for the page."""
    groups: list[_RealismGroup] = []
    paths: list[_PathFigure] = []
    note, why_no_images = "", None
    try:
        if result.metric == _REALISM_METRIC:
            groups, note = _realism_groups(result, images)
        else:
            paths = _path_figures(result, images)
            note = _PATHS_NOTE
    except RaymetricsError as error:
        why_no_images = str(error)
    source = result.details.get("ends", {}).get("source", result.generated.source)
    return _RealismSection(result, source, note, groups, paths, why_no_images)


def _realism_groups(result: Result, images: SampleImages) -> tuple[list[_RealismGroup], str]:
    """Return both ends of all samples, or of some groups, and a note on the choice of groups."""
    all_samples = {"name": "", "count": result.generated.count, "realistic": result.value}
    all_groups = result.details.get("groups", [{**all_samples, **result.details}])
    shown_groups = [all_groups[i] for i in evenly_spaced(np.arange(len(all_groups)), MAX_GROUPS)]
    scored_samples = [
        pair for group in shown_groups for pair in (*group["highest"], *group["lowest"])
    ]
    tiles = iter(_sample_tiles(result.generated, scored_samples, images))
    groups = [
        _RealismGroup(
            str(group["name"]),
            f"{group['count']} samples, {100 * group['realistic']:.1f} % with R >= 1",
            [next(tiles) for _ in group["highest"]],
            [next(tiles) for _ in group["lowest"]],
        )
        for group in shown_groups
    ]
    return groups, grouping_note(result.details.get("by"), len(shown_groups), len(all_groups))


def grouping_note(criterion: str | None, shown_count: int, group_count: int) -> str:
    """Return how samples were grouped, in words; "" without groups."""
    if criterion is None:
        return ""
    group_kind = {"label": "label of the source", "class": "Top-1 class"}[criterion]
    note = f"Ranked within each {group_kind}; R is always that among all real samples."
    if shown_count == group_count:
        return note
    return f"{note} {shown_count} of {group_count} are shown, evenly spaced."


def _sample_tiles(
    side: Side, scored_samples: Sequence[_ScoredSample], images: SampleImages
) -> list[Tile]:
    """Return images of samples, made again, with their R. Raise RaymetricsError if that fails."""
    pixels = images.regenerate_images(side, [sample_id for sample_id, _ in scored_samples])
    return [
        realism_tile(image, realism)
        for image, (_, realism) in zip(pixels, scored_samples, strict=True)
    ]


def realism_tile(image: np.ndarray, realism: float | None) -> Tile:
    """Return an image uint8 [3, h, w] with its R; None is an infinite R."""
    caption = "\u221e" if realism is None else f"{realism:.2f}"
    return Tile(data_uri(Image.fromarray(thumbnail(image))), caption)


def _path_figures(result: Result, images: SampleImages) -> list[_PathFigure]:
    """Return the chosen paths, whose curves share one scale. Raise RaymetricsError if images cannot
    be made again.
    """
    shown_paths, steps = result.details["shown"], int(result.convention["steps"])
    ends_side = Side(**result.details["ends"])
    end_samples, between_samples = [], []
    for path in shown_paths:
        first, *inner, last = path["realism"]
        end_samples += [(path["start"], first), (path["end"], last)]
        between_samples += [(path["path"] * steps + step, r) for step, r in enumerate(inner)]
    end_tiles = _sample_tiles(ends_side, end_samples, images)
    tiles = _sample_tiles(result.generated, between_samples, images)
    highest = max([1.1, *(r for path in shown_paths for r in path["realism"] if r is not None)])
    threshold = float(result.convention["below"])
    return [
        _PathFigure(
            f"path {path['path']}: samples {path['start']} to {path['end']}",
            bool(path["strays"]),
            [end_tiles[2 * i], *tiles[i * steps : (i + 1) * steps], end_tiles[2 * i + 1]],
            realism_curve(path["realism"], threshold, 1.08 * highest),
        )
        for i, path in enumerate(shown_paths)
    ]


def realism_curve(realism: Sequence[float | None], threshold: float, y_max: float) -> str:
    """Draw R over t in 0..1, each point below the middle of its image; infinite R at the top."""
    y = np.array([y_max if r is None else r for r in realism])
    x = np.arange(len(y))
    figure, axes = new_axes("", "")
    figure.set_layout_engine("none")
    figure.set_size_inches(*_CURVE_SIZE)
    axes.set_position((0, 0.2, 1, 0.78))
    axes.axhline(1, color=TEXT_COLOR, linewidth=0.8, linestyle=":")
    axes.axhline(threshold, color=COLORS[1], linewidth=0.8, linestyle=":")
    axes.plot(x, y, color=COLORS[0], linewidth=1)
    for color, selected in ((COLORS[0], y >= threshold), (COLORS[1], y < threshold)):
        axes.plot(x[selected], y[selected], "o", color=color, markersize=4)
    axes.set_xlim(-0.5, len(x) - 0.5)
    axes.set_ylim(0, y_max)
    tick_positions = np.unique(np.linspace(0, len(x) - 1, min(11, len(x))).astype(int))
    axes.set_xticks(
        tick_positions,
        [f"{position / (len(x) - 1):.2g}" for position in tick_positions],
        fontsize=7,
    )
    axes.set_yticks([0.5, 1.0], ["", ""])
    for value in (0.5, 1):
        axes.text(-0.48, value, f"{value:g}", color=TEXT_COLOR, fontsize=7, va="bottom")
    return svg(figure)
