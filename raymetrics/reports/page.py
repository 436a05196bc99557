"""One self-contained HTML page from a file of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch

from raymetrics import ranges, results
from raymetrics.errors import RaymetricsError, StorageError
from raymetrics.generators import open_source
from raymetrics.provenance import fingerprint
from raymetrics.reports.grids import data_uri, grid, thumbnail
from raymetrics.reports.tables import number, protocol
from raymetrics.results import Result, Side
from raymetrics.shards.reader import open_shards

SHOWN = 60
COLUMNS = 10
CLASSES = 25


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
    spaces: dict[str, list[Result]]
    histograms: list[ClassHistogram]


def report(path: str | Path, *, to: str | Path) -> Path:
    """Writes `to`/index.html from a file of results; the path of the page.

    Sample grids are made again from the ids, if the source and the shards are at hand; else the
    page says why not. The page holds all that it shows and asks for nothing. ResultError for a
    file that holds no results, StorageError if the page cannot be written.
    """
    comparisons = compare(results.read(path))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raymetrics", "reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html").render(
        comparisons=comparisons,
        number=number,
        protocol=protocol,
        provenance=provenance,
        samples=samples_in_words,
    )
    page = Path(to) / "index.html"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write the page to {page}: {error.strerror}") from None
    return page


def compare(found: Sequence[Result]) -> list[Comparison]:
    """The results by the two sets that they compare; of repeated ones the newest."""
    newest: dict[tuple[object, ...], dict[str, Result]] = {}
    for result in found:
        real, generated = result.real, result.generated
        sides = (real.digest, real.samples, generated.digest, generated.samples)
        convention = {k: v for k, v in result.convention.items() if k != "engine"}  # all agree
        what = json.dumps([result.label, result.space, convention], sort_keys=True)
        newest.setdefault(sides, {})[what] = result
    return [comparison(list(of_sides.values())) for of_sides in newest.values()]


def comparison(of_sides: list[Result]) -> Comparison:
    """The results of one pair of sets, sorted for the page."""
    spaces: dict[str, list[Result]] = {}
    for result in of_sides:
        spaces.setdefault(str(result.space["name"]), []).append(result)
    return Comparison(
        real=part("real", whole(of_sides[0].real)),
        generated=part("generated", whole(of_sides[0].generated)),
        results=of_sides,
        spaces=spaces,
        histograms=[class_histogram(r) for r in of_sides if r.metric == "top1_distance"],
    )


def whole(side: Side) -> Side:
    """The side with the count of all its samples, where a result is of one label only."""
    if not side.samples:
        return side
    return replace(side, count=ranges.count(map(ranges.parse, side.samples)))


def samples_in_words(side: Side) -> str:
    """ "2,000 samples"."""
    return "unknown samples" if side.count is None else f"{side.count:,} samples"


def part(role: str, side: Side) -> Part:
    """A side with its picture."""
    try:
        images = samples_again(side)
    except RaymetricsError as error:
        return Part(role, side, None, 0, str(error))
    pictures = [thumbnail(image) for image in images]
    return Part(role, side, data_uri(grid(pictures, COLUMNS)), len(images), None)


def samples_again(side: Side) -> np.ndarray:
    """SHOWN images of a side, evenly spaced over its ids; RaymetricsError if they are not to be
    had, or would not be the ones that were measured."""
    if not side.samples:
        raise RaymetricsError(f"{side.source} is a file of statistics, which holds no samples")
    spec = open_shards(side.uri).spec
    generator = open_source(side.source, torch.device("cpu"))
    same_set = spec.fingerprint == side.fingerprint
    if not same_set or fingerprint(generator.spec) != fingerprint(spec.generator):
        raise RaymetricsError(f"{side.source} is no longer what the shards were made from")
    ids = np.concatenate([np.arange(r.start, r.stop) for r in map(ranges.parse, side.samples)])
    chosen = ids[np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).astype(int)]
    return generator(chosen)


def class_histogram(result: Result) -> ClassHistogram:
    """The CLASSES commonest real classes, as in Fig. 4a of Kynkaanniemi et al. (2023)."""
    counts = [np.array(result.details[side]) for side in ("real", "generated")]
    real, generated = (of_side / of_side.sum() for of_side in counts)
    occurring = np.flatnonzero(real + generated)
    order = occurring[np.lexsort((occurring, -generated[occurring], -real[occurring]))]
    names = result.details["class_names"]
    bars = [Bar(names[c], float(real[c]), float(generated[c])) for c in order[:CLASSES]]
    longest = max(max(bar.real, bar.generated) for bar in bars)
    label = result.convention.get("label")
    space = str(result.space["name"]) + ("" if label is None else f", label {label}")
    return ClassHistogram(space, bars, max(0, len(order) - CLASSES), longest)


def provenance(result: Result) -> str:
    """All that a result carries but its arrays, as indented JSON."""
    value: dict[str, Any] = {k: v for k, v in asdict(result).items() if k != "details"}
    return json.dumps(value, indent=1)
