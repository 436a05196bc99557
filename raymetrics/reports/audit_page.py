"""Write the page of an audit: verdict, numbers, and the relative change in every space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raymetrics.reports.figures import COLORS, LEGEND_LABEL, TEXT_COLOR, add_legend, new_axes, svg
from raymetrics.reports.html import render_template, write_page
from raymetrics.reports.terminal import align_columns, format_convention, format_value
from raymetrics.results import Result

_SHARE = "null_space_share"
_RANDOM = "random"
_SHARE_ROW = "in the perceptual null space"
_WIDTH, _BAR_HEIGHT, _MARGIN = 6.4, 0.24, 0.9  # inches


@dataclass(frozen=True)
class AuditRow:
    """The numbers of a generator in one space, or its shares in the null space."""

    generator: str
    name: str
    cells: list[str]  # of random draws, then of each attack


@dataclass(frozen=True)
class AuditTable:
    """The numbers of an audit, side by side."""

    columns: list[str]
    rows: list[AuditRow]


def write_audit_page(results: Sequence[Result], verdict: Sequence[str], *, to: str | Path) -> Path:
    """Write the verdict and the numbers of an audit as `to`/index.html; return its path.

    The page loads no other file. Raise StorageError if it cannot be written.
    """
    conclusion, *evidence = verdict
    headline = next(result for result in results if result.metric != _SHARE)
    text = render_template(
        "audit_page.html",
        conclusion=conclusion,
        evidence=evidence,
        table=_audit_table(results),
        figure=change_figure(results),
        headline=headline,
        samples=_sample_notes(results),
        convention=format_convention(headline),
    )
    return write_page(text, to)


def audit_table(results: Sequence[Result]) -> str:
    """Return the numbers of an audit as text for a terminal."""
    table = _audit_table(results)
    rows = [[row.generator, row.name, *row.cells] for row in table.rows]
    return align_columns([["", "", *table.columns], *rows])


def _audit_table(results: Sequence[Result]) -> AuditTable:
    """Return a row for every generator and space, and one for the shares in the null space."""
    attacks = _attacks(results)
    rows = []
    for generator in dict.fromkeys(str(result.details["generator"]) for result in results):
        own = [result for result in results if result.details["generator"] == generator]
        spaces = dict.fromkeys(r.measure_name for r in own if r.metric != _SHARE)
        rows += [AuditRow(generator, space, _space_cells(own, space, attacks)) for space in spaces]
        shares = {r.details["attack"]: _percent(r.value, r.spread) for r in own if _is_share(r)}
        rows.append(AuditRow(generator, _SHARE_ROW, ["", *(shares[key] for key in attacks)]))
    return AuditTable([_RANDOM, *attacks.values()], rows)


def _is_share(result: Result) -> bool:
    return result.metric == _SHARE


def _attacks(results: Sequence[Result]) -> dict[str, str]:
    """Return the name of the draws of every attack; "in part" if it is so of any generator."""
    attacks: dict[str, str] = {}
    for result in results:
        if "attack" in result.details:
            name = str(result.subset["scheme"])
            attacks[result.details["attack"]] = max(
                attacks.get(result.details["attack"], ""), name, key=len
            )
    return attacks


def _space_cells(results: Sequence[Result], space: str, attacks: dict[str, str]) -> list[str]:
    """Return the distance of random draws, and that of every attack with its change."""
    distances = [r for r in results if r.measure_name == space and not _is_share(r)]
    # Beside a match in part stand random draws of its size; the last ones are of the whole size.
    random = [r for r in distances if r.subset["scheme"] == _RANDOM][-1]
    attacked = {r.details["attack"]: r for r in distances if "attack" in r.details}
    cells = [format_value(random.value, random.spread)]
    for attack in attacks:
        result = attacked[attack]
        change = _percent(*result.details["relative_change"], signed=True)
        cells.append(f"{format_value(result.value, result.spread)} ({change})")
    return cells


def _percent(value: float, deviation: float | None, *, signed: bool = False) -> str:
    """Return "8 ± 2 %", with a sign if it is a change."""
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.0f} ± {100 * (deviation or 0):.0f} %".replace("-", "\u2212")


def _sample_notes(results: Sequence[Result]) -> list[str]:
    """Return a line for every generator: where its samples are from, and how many are drawn."""
    notes = {}
    for result in results:
        subset, name = result.subset, str(result.details["generator"])
        notes[name] = (
            f"{name}: {subset['seeds']} draws of {subset['n']:,} from {subset['candidates']:,} "
            f"samples of {result.generated.source}"
        )
    return list(notes.values())


def change_figure(results: Sequence[Result]) -> str:
    """Draw the relative change of the distance in every space as bars, one for each attack."""
    attacks = _attacks(results)
    changed = [result for result in results if "relative_change" in result.details]
    several = len({result.details["generator"] for result in changed}) > 1
    labels = list(dict.fromkeys(_bar_label(result, several=several) for result in changed))
    height = _MARGIN + _BAR_HEIGHT * (len(attacks) + 1) * len(labels)
    figure, axes = new_axes("change from random draws, %", "", (_WIDTH, height))
    bar = 0.8 / len(attacks)
    for i, attack in enumerate(attacks):
        own = [result for result in changed if result.details["attack"] == attack]
        places = [labels.index(_bar_label(result, several=several)) for result in own]
        change, deviation = 100 * np.array([r.details["relative_change"] for r in own]).T
        axes.barh(
            np.array(places) + bar * (i - (len(attacks) - 1) / 2), change, 0.9 * bar,
            xerr=deviation, color=COLORS[i], ecolor=TEXT_COLOR, label=LEGEND_LABEL,
        )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color=TEXT_COLOR, linewidth=0.8)
    add_legend(figure, list(attacks.values()), loc="outside upper left", ncols=len(attacks))
    return svg(figure)


def _bar_label(result: Result, *, several: bool) -> str:
    """Return the space, and the generator if there are several."""
    name = result.measure_name
    return f"{name}, {result.details['generator']}" if several else name
