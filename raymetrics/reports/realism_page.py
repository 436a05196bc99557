"""A page of single samples: the most and the least realistic ones (Kynkaanniemi et al. 2019,
Fig. 8, 10, 11), and interpolation paths with their realism (Fig. 9, 12)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raymetrics.errors import RaymetricsError
from raymetrics.permissions import Permission
from raymetrics.reports.figures import COLOURS, INK, canvas, svg
from raymetrics.reports.grids import data_uri, thumbnail
from raymetrics.reports.html import rendered, write_page
from raymetrics.reports.sample_images import SampleImages, evenly
from raymetrics.reports.terminal import number, protocol
from raymetrics.results import Result, Side

RANKED, STRAYING = "realistic", "straying_paths"
SHOWN = {"highest", "groups", "shown"}  # in the details of a result with images to show
GROUPS = 40  # of many labels so many are shown, evenly spaced
CURVE = (6.4, 1.3)  # inches, under the images of a path
PATHS_NOTE = (
    "Paths by the lowest R between their ends: the best, the worst, some between. R over t, each "
    "point below its image; dotted: R = 1, and the R below which an image is off the manifold."
)

Scored = Sequence[Any]  # [id, R]; R is None where it is infinite


@dataclass(frozen=True)
class Tile:
    """An image with its R below."""

    image: str
    caption: str


@dataclass(frozen=True)
class Group:
    """Both ends of all samples, or of those with one label."""

    name: str
    note: str
    highest: list[Tile]
    lowest: list[Tile]


@dataclass(frozen=True)
class Interpolation:
    """The images of a path from its start to its end, over the curve of their R."""

    title: str
    strays: bool
    tiles: list[Tile]
    curve: str


@dataclass(frozen=True)
class Section:
    """What a result has to show, or the reason why its images are not there."""

    result: Result
    source: str
    note: str
    groups: list[Group]
    paths: list[Interpolation]
    trouble: str | None


def singles(
    found: Sequence[Result], *, to: str | Path, run_code: bool = False,
    written: Collection[str] = (),
) -> Path:  # fmt: skip
    """Writes `to`/index.html from results of `raymetrics realism` or `paths`; its path.

    Images are made again from their ids, if the source and the shards are at hand; else the page
    says why not. Programs and other machines are opened as `report` opens them. The page
    holds all that it shows. StorageError if it cannot be written.
    """
    images = SampleImages(Permission(run_code, frozenset(written)))
    text = rendered(
        "realism_page.html",
        readings=readings(found),
        sections=[section(result, images) for result in found if SHOWN & result.details.keys()],
        number=number,
        protocol=protocol,
    )
    return write_page(text, to)


def readings(found: Sequence[Result]) -> list[str]:
    """What the results say, a sentence each."""
    return [reading(result) for result in found if result.metric in (RANKED, STRAYING)]


def reading(result: Result) -> str:
    """A result in words."""
    space, kept = result.space["name"], result.convention
    if result.metric == RANKED:
        return (
            f"{space}: {100 * result.value:.1f} % of {result.generated.count} samples have R >= 1, "
            "as they lie within a ball of a real sample, of the half with the smaller radii: the "
            "precision with pruned balls."
        )
    low, high = (100 * share for share in result.details["interval"])
    which = " within a class" if "within" in kept else ""
    return (
        f"{space}: {100 * result.value:.1f} % of {result.details['paths']} paths{which} stray "
        f"({100 * result.details['confidence']:g} % interval {low:.1f} to {high:.1f} %): more than "
        f"{100 * kept['more_than']:g} % of their {kept['steps']} images between have "
        f"R < {kept['below']:g}. Of all images between {100 * result.details['realistic']:.1f} % "
        "have R >= 1."
    )


def section(result: Result, images: SampleImages) -> Section:
    """A result for the page."""
    groups: list[Group] = []
    paths: list[Interpolation] = []
    note, trouble = "", None
    try:
        if result.metric == RANKED:
            groups, note = groups_of(result, images)
        else:
            paths = paths_of(result, images)
            note = PATHS_NOTE
    except RaymetricsError as error:
        trouble = str(error)
    source = result.details.get("ends", {}).get("source", result.generated.source)
    return Section(result, source, note, groups, paths, trouble)


def groups_of(result: Result, images: SampleImages) -> tuple[list[Group], str]:
    """The ends of all samples, or of some groups; and what to say of the choice."""
    of_all = {"name": "", "count": result.generated.count, "realistic": result.value}
    there = result.details.get("groups", [{**of_all, **result.details}])
    some = [there[i] for i in evenly(np.arange(len(there)), GROUPS)]
    scored = [pair for group in some for pair in (*group["highest"], *group["lowest"])]
    tiles = iter(tiles_of(result.generated, scored, images))
    made = [
        Group(
            str(group["name"]),
            f"{group['count']} samples, {100 * group['realistic']:.1f} % with R >= 1",
            [next(tiles) for _ in group["highest"]],
            [next(tiles) for _ in group["lowest"]],
        )
        for group in some
    ]
    return made, grouping(result.details.get("by"), len(some), len(there))


def grouping(by: str | None, shown: int, there: int) -> str:
    """What is said of groups; nothing where there are none."""
    if by is None:
        return ""
    of = {"label": "label of the source", "class": "Top-1 class"}[by]
    few = f" {shown} of {there} are shown, evenly spaced." if shown < there else ""
    return f"Ranked within each {of}; R is always that among all real samples.{few}"


def tiles_of(side: Side, scored: Sequence[Scored], images: SampleImages) -> list[Tile]:
    """Images of samples, made again, with their R. RaymetricsError if they cannot be made."""
    pixels = images.images(side, [sample_id for sample_id, _ in scored])
    return [tile(image, realism) for image, (_, realism) in zip(pixels, scored, strict=True)]


def tile(image: np.ndarray, realism: float | None) -> Tile:
    """One image, uint8 [3, h, w]."""
    caption = "\u221e" if realism is None else f"{realism:.2f}"
    return Tile(data_uri(Image.fromarray(thumbnail(image))), caption)


def paths_of(result: Result, images: SampleImages) -> list[Interpolation]:
    """The chosen paths; their curves share one scale. RaymetricsError as above."""
    shown, steps = result.details["shown"], int(result.convention["steps"])
    ends_side = Side(**result.details["ends"])
    ends, between = [], []
    for path in shown:
        first, *along, last = path["realism"]
        ends += [(path["start"], first), (path["end"], last)]
        between += [(path["path"] * steps + step, r) for step, r in enumerate(along)]
    end_tiles = tiles_of(ends_side, ends, images)
    tiles = tiles_of(result.generated, between, images)
    top = max([1.1, *(r for path in shown for r in path["realism"] if r is not None)])
    below = float(result.convention["below"])
    return [
        Interpolation(
            f"path {path['path']}: samples {path['start']} to {path['end']}",
            bool(path["strays"]),
            [end_tiles[2 * i], *tiles[i * steps : (i + 1) * steps], end_tiles[2 * i + 1]],
            curve(path["realism"], below, 1.08 * top),
        )
        for i, path in enumerate(shown)
    ]


def curve(realism: Sequence[float | None], below: float, top: float) -> str:
    """R over t in 0..1, each point below the middle of its image; an infinite one at the top."""
    y = np.array([top if r is None else r for r in realism])
    x = np.arange(len(y))
    figure, axes = canvas("", "")
    figure.set_layout_engine("none")
    figure.set_size_inches(*CURVE)
    axes.set_position((0, 0.2, 1, 0.78))
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.axhline(below, color=COLOURS[1], linewidth=0.8, linestyle=":")
    axes.plot(x, y, color=COLOURS[0], linewidth=1)
    for colour, some in ((COLOURS[0], y >= below), (COLOURS[1], y < below)):
        axes.plot(x[some], y[some], "o", color=colour, markersize=4)
    axes.set_xlim(-0.5, len(x) - 0.5)
    axes.set_ylim(0, top)
    places = np.unique(np.linspace(0, len(x) - 1, min(11, len(x))).astype(int))
    axes.set_xticks(places, [f"{place / (len(x) - 1):.2g}" for place in places], fontsize=7)
    axes.set_yticks([0.5, 1.0], ["", ""])
    for value in (0.5, 1):
        axes.text(-0.48, value, f"{value:g}", color=INK, fontsize=7, va="bottom")
    return svg(figure)
