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
from raymetrics.reports.figures import scatter
from raymetrics.reports.html import rendered, write_page
from raymetrics.reports.resampling_section import DrawsSection, draws_sections, is_drawn
from raymetrics.reports.sample_images import SampleImages
from raymetrics.reports.sides import of, whole
from raymetrics.reports.sweep_section import tradeoff_sections
from raymetrics.reports.terminal import number, protocol
from raymetrics.results import Result, Side

SHOWN = 60  # samples of a side
FEW = 10  # where comparisons are many, as every image has to be made again
CLASSES = 25
UNFOLDED = 4  # comparisons below a tradeoff of them all
PICTURED = 50  # of folded comparisons; each takes a generator to be loaded, and room on the page


@dataclass(frozen=True)
class Part:
    """One side of a comparison, with a picture of its samples or the reason why there is none."""

    role: str
    side: Side
    picture: str | None
    shown: int
    trouble: str | None


@dataclass(frozen=True)
class Bar:
    """One class of a histogram; shares in 0..1."""

    name: str
    real: float
    generated: float


@dataclass(frozen=True)
class ClassHistogram:
    """The commonest real classes of a Top-1 histogram."""

    space: str
    bars: list[Bar]
    hidden: int  # classes that occur and are not shown
    longest: float


@dataclass(frozen=True)
class Comparison:
    """All results of the same two sets."""

    real: Part
    generated: Part
    results: list[Result]
    spaces: dict[str, list[Result]]  # of whole sides
    draws: list[DrawsSection]
    histograms: list[ClassHistogram]


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
    found = results.read(path)
    tradeoffs, pairs = tradeoff_sections(found), by_sides(found)
    folded = bool(tradeoffs) and len(pairs) > UNFOLDED
    images = SampleImages(Permission(run_code, frozenset(written)))
    comparisons = [
        comparison(of_sides, shown_of(i, folded=folded), images) for i, of_sides in enumerate(pairs)
    ]
    text = rendered(
        "comparison_page.html",
        tradeoffs=tradeoffs,
        comparisons=comparisons,
        failures=results.failures_beside(path),
        folded=folded,
        below=pages_below(to),
        correlations=correlations(comparisons),
        number=number,
        protocol=protocol,
        provenance=provenance,
        samples=samples_in_words,
    )
    return write_page(text, to)


def pages_below(folder: str | Path) -> dict[str, str]:
    """The folders directly below one that have pages, by name; their relative addresses."""
    names = sorted(path.parent.name for path in Path(folder).glob("*/index.html"))
    return {name: quote(os.fsencode(name)) for name in names}


def by_sides(found: Sequence[Result]) -> list[list[Result]]:
    """The results by the two sets that they compare; of repeated ones the newest."""
    newest: dict[tuple[object, ...], dict[str, Result]] = {}
    for result in found:
        real, generated = result.real, result.generated
        sides = (of(real), of(generated))
        convention = {k: v for k, v in result.convention.items() if k != "engine"}  # all agree
        what = json.dumps([result.label, result.space, convention], sort_keys=True)
        newest.setdefault(sides, {})[what] = result
    return [list(of_sides.values()) for of_sides in newest.values()]


def shown_of(i: int, *, folded: bool) -> int:
    """Samples of either side of the i-th comparison."""
    if not folded:
        return SHOWN
    return FEW if i < PICTURED else 0


def comparison(of_sides: list[Result], shown: int, images: SampleImages) -> Comparison:
    """The results of one pair of sets, sorted for the page; with so many samples of either."""
    spaces: dict[str, list[Result]] = {}
    for result in of_sides:
        if is_drawn(result):
            continue
        spaces.setdefault(str(result.space["name"]), []).append(result)
    return Comparison(
        real=part("real", whole(of_sides[0].real), shown, images),
        generated=part("generated", whole(of_sides[0].generated), shown, images),
        results=of_sides,
        spaces=spaces,
        draws=draws_sections(of_sides, images),
        histograms=[class_histogram(r) for r in of_sides if r.metric == "top1_distance"],
    )


@dataclass(frozen=True)
class Correlation:
    """Distances from features against those from logits, over several sets."""

    space: str
    sets: int
    coefficient: float
    figure: str


def correlations(comparisons: Sequence[Comparison]) -> list[Correlation]:
    """One for every space in which three sets or more have both distances, as in Fig. 9 of
    Kynkaanniemi et al. (2023)."""
    points: dict[str, list[tuple[float, float]]] = {}
    for compared in comparisons:
        for space, of_space in compared.spaces.items():
            values = {
                str(result.space["output"]): result.value
                for result in of_space
                if result.metric == "frechet_distance"
            }
            logits = values.pop("logits", None)
            if logits is not None and values:
                points.setdefault(space, []).append((next(iter(values.values())), logits))
    found = []
    for space, pairs in points.items():
        if len(pairs) > 2:
            x, y = np.array(pairs).T
            figure = scatter(x, y, f"distance, features of {space}", "distance, logits")
            found.append(Correlation(space, len(pairs), float(np.corrcoef(x, y)[0, 1]), figure))
    return found


def samples_in_words(side: Side) -> str:
    """ "2,000 samples"."""
    return "unknown samples" if side.count is None else f"{side.count:,} samples"


def part(role: str, side: Side, shown: int, images: SampleImages) -> Part:
    """A side with its picture, of evenly spaced samples; without one if none are to be shown."""
    if not shown:
        return Part(role, side, None, 0, f"only the first {PICTURED} sets have pictures here")
    try:
        ids = images.sample_ids(side, shown)
        return Part(role, side, images.picture(side, ids), len(ids), None)
    except RaymetricsError as error:
        return Part(role, side, None, 0, str(error))


def class_histogram(result: Result) -> ClassHistogram:
    """The CLASSES commonest real classes, as in Fig. 4a of Kynkaanniemi et al. (2023)."""
    counts = [np.array(result.details[side]) for side in ("real", "generated")]
    real, generated = (of_side / of_side.sum() for of_side in counts)
    occurring = np.flatnonzero(real + generated)
    order = occurring[np.lexsort((occurring, -generated[occurring], -real[occurring]))]
    names = result.details["class_names"]
    bars = [
        Bar(names[c] if c < len(names) else str(c), float(real[c]), float(generated[c]))
        for c in order[:CLASSES]
    ]
    longest = max(max(bar.real, bar.generated) for bar in bars)
    said = {"label ": result.convention.get("label"), "": result.convention.get("drawn")}
    space = ", ".join(
        [str(result.space["name"]), *(f"{k}{v}" for k, v in said.items() if v is not None)]
    )
    return ClassHistogram(space, bars, max(0, len(order) - CLASSES), longest)


def provenance(result: Result) -> str:
    """All that a result carries but its arrays, as indented JSON."""
    value: dict[str, Any] = {k: v for k, v in asdict(result).items() if k != "details"}
    return json.dumps(value, indent=1)
