"""Draws from a set side by side, in the space where they were matched and in the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raymetrics.errors import RaymetricsError
from raymetrics.printable import printable
from raymetrics.reports.figures import Curve, curves
from raymetrics.reports.sample_images import SampleImages
from raymetrics.reports.terminal import aligned, number
from raymetrics.results import Result

DRAWN = "drawn"  # in the convention of a result: how its samples were drawn
RANDOM = "random"
SWEPT = re.compile(r"(top_n|middle_n):(\d+)")


@dataclass(frozen=True)
class Cell:
    """A number of one way of drawing."""

    text: str
    change: str  # against random draws


@dataclass(frozen=True)
class Row:
    """A metric in a space, over the ways of drawing."""

    label: str
    opinion: str
    cells: list[Cell | None]


@dataclass(frozen=True)
class Picture:
    """A grid of samples, or the reason why there is none."""

    title: str
    image: str | None
    trouble: str


@dataclass(frozen=True)
class DrawsTable:
    """The numbers of draws, side by side."""

    ways: list[str]
    rows: list[Row]
    readings: list[str]

    def __str__(self) -> str:
        """As text, with what the distances say below."""
        cells = [["", "", *self.ways]]
        for row in self.rows:
            texts = [f"{cell.text} {cell.change}".strip() if cell else "" for cell in row.cells]
            cells.append([row.label, row.opinion, *texts])
        return "\n".join([aligned(cells), "", *map(printable, self.readings)])


@dataclass(frozen=True)
class DrawsSection:
    """All that a page shows of comparable draws."""

    title: str
    table: DrawsTable
    sweep: str | None  # a figure
    pictures: list[Picture]


def is_drawn(result: Result) -> bool:
    """Whether a result is of draws."""
    return DRAWN in result.convention


Ways = dict[str, dict[str, Result]]  # by the way of drawing, and by the label without it


def draws_sections(found: Sequence[Result], images: SampleImages) -> list[DrawsSection]:
    """What a page shows of those results that are of draws: one part for all that were drawn from
    the same candidates, as many, and as often, so that they can be compared."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in filter(is_drawn, found):
        said = result.convention
        groups.setdefault(tuple(map(said.get, ("candidates", "n", "seeds"))), []).append(result)
    return [section(group, images) for group in groups.values()]


def section(drawn: Sequence[Result], images: SampleImages) -> DrawsSection:
    """What a page shows of comparable draws."""
    ways = by_way(drawn)
    said = drawn[0].convention
    title = f"{said['seeds']} draws of {said['n']:,} from {said['candidates']:,} generated samples"
    shown = pictures(ways, images)
    return DrawsSection(title, draws_table(drawn), sweep(ways, matchers(ways)), shown)


def draws_table(drawn: Sequence[Result]) -> DrawsTable:
    """The numbers of comparable draws."""
    ways = by_way(drawn)
    matched_by = matchers(ways)
    labels = list(dict.fromkeys(label for of_way in ways.values() for label in of_way))
    rows = [row(label, ways, matched_by) for label in labels]
    return DrawsTable(
        list(ways),
        sorted(rows, key=lambda row: row.opinion),
        [reading(way, ways, matched_by) for way in ways if way != RANDOM and RANDOM in ways],
    )


def by_way(drawn: Sequence[Result]) -> Ways:
    """The results of draws, sorted."""
    ways: Ways = {}
    for result in drawn:
        way = str(result.convention[DRAWN])
        ways.setdefault(way, {})[result.label.removesuffix(f", {way}")] = result
    return ways


def matchers(ways: Ways) -> set[str]:
    """The extractors in whose space something was matched."""
    said = [r.convention.get("matched_by") for of_way in ways.values() for r in of_way.values()]
    return {str(name) for name in said if name is not None}


def row(label: str, ways: Ways, matched_by: set[str]) -> Row:
    """One line of the table."""
    results = [of_way.get(label) for of_way in ways.values()]
    first = next(result for result in results if result)
    own = first.space["name"] in matched_by
    base = ways.get(RANDOM, {}).get(label)
    cells = [
        None if r is None else Cell(number(r.value, r.spread), percent(r, base)) for r in results
    ]
    return Row(label, "matched in this space" if own else "second opinion", cells)


def percent(result: Result, base: Result | None) -> str:
    """ "-35 %" against the random draws; nothing for these themselves."""
    if base is None or base is result or base.value <= 0:
        return ""
    return f"{100 * (result.value / base.value - 1):+.0f} %".replace("-", "\u2212")


def reading(way: str, ways: Ways, matched_by: set[str]) -> str:
    """What the Frechet distances say of a way, in a sentence (section 3 of the paper)."""
    parts: dict[bool, list[str]] = {True: [], False: []}
    for label, result in ways[way].items():
        base = ways[RANDOM].get(label)
        if result.metric == "frechet_distance" and base is not None:
            parts[result.space["name"] in matched_by].append(f"{label} {moved(result, base)}")
    own, others = (", ".join(parts[kind]) for kind in (True, False))
    second = f"; the second opinion: {others}" if others else "; there is no second opinion"
    return f"{way[0].upper()}{way[1:]}: {own}{second}."


def moved(result: Result, base: Result) -> str:
    """ "falls by 35 %", or that it moves no more than the seeds differ."""
    apart = result.value - base.value
    if abs(apart) <= (result.spread or 0) + (base.spread or 0):
        return "moves no more than the seeds differ"
    return f"{'falls' if apart < 0 else 'rises'} by {100 * abs(apart / base.value):.0f} %"


def sweep(ways: Ways, matched_by: set[str]) -> str | None:
    """Distances over N, relative to random draws (Fig. 6); None without several N."""
    lines: dict[tuple[str, str, bool], list[tuple[int, float, float]]] = {}
    for way in ways.values():
        for label, result in way.items():
            match = SWEPT.fullmatch(str(result.convention.get("match", "")))
            base = ways.get(RANDOM, {}).get(label)
            if match and base and result.metric == "frechet_distance":
                point = int(match[2]), result.value / base.value, (result.spread or 0) / base.value
                own = result.space["name"] in matched_by
                lines.setdefault((match[1], label, own), []).append(point)
    if max(map(len, lines.values()), default=0) < 2:
        return None
    kinds = sorted({kind for kind, _, _ in lines}, reverse=True)
    drawn = []
    for (kind, label, own), points in lines.items():
        n, values, spreads = np.array(sorted(points)).T
        drawn.append(Curve(f"{label}, {kind}", n, values, spreads, kinds.index(kind), not own))
    return curves(drawn, "N classes matched", "distance / that of random draws")


def pictures(ways: Ways, images: SampleImages) -> list[Picture]:
    """Samples of every way (Fig. 13), and those of the smallest and largest weights (Fig. 5)."""
    found = []
    for way, of_way in ways.items():
        result = next(iter(of_way.values()))
        found.append(draw_grid(way, result, result.details.get("shown", []), images))
        for what in ("smallest", "largest"):
            if what in result.details:
                title = f"{way}: the {what} weights"
                found.append(draw_grid(title, result, result.details[what], images))
    return found


def draw_grid(title: str, result: Result, ids: Sequence[int], images: SampleImages) -> Picture:
    """Draw samples of the generated side as a grid; without one it says why."""
    try:
        return Picture(title, images.picture(result.generated, ids), "")
    except RaymetricsError as error:
        return Picture(title, None, str(error))
