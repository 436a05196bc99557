"""Show how far the numbers of two sets move with the protocol, as a table with spreads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raymetrics.reports.terminal import align_columns, format_value
from raymetrics.results import VARIATION, Result

_ROUNDING = 1e-9  # of a value, by sums in another order
_AXIS_NAMES = {"conventions": "conventions", "counts": "sample counts", "resizes": "resizes"}


@dataclass(frozen=True)
class SensitivitySection:
    """A row for every variation of the protocol, a column for every measure; cells are texts."""

    title: str
    measures: list[str]
    rows: list[tuple[str, list[str]]]
    spreads: list[tuple[str, list[str]]]
    sentences: list[str]

    def __str__(self) -> str:
        """Return the section as text for a terminal."""
        lines = [["", *self.measures], *([name, *cells] for name, cells in self.rows)]
        lines += [[name, *cells] for name, cells in self.spreads]
        return "\n".join([self.title, "", align_columns(lines), "", *self.sentences])


def sensitivity_sections(results: Sequence[Result]) -> list[SensitivitySection]:
    """Return a section for every two sources whose numbers were computed by several protocols."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if VARIATION in result.details:
            sources = result.real.source, result.generated.source
            groups.setdefault(sources, []).append(result)
    return [_section(group) for group in groups.values()]


def _section(group: Sequence[Result]) -> SensitivitySection:
    values: dict[tuple[str, str], dict[str, float]] = {}  # by axis and setting, then measure
    for result in group:
        variation = result.details[VARIATION]
        row = values.setdefault((variation["axis"], variation["setting"]), {})
        row[variation["measure"]] = result.value
    measures = list(dict.fromkeys(result.details[VARIATION]["measure"] for result in group))
    rows = [
        (setting, [format_value(row[m]) if m in row else "" for m in measures])
        for (_, setting), row in values.items()
    ]
    whole = _spreads(values, measures, None)
    axes = [axis for axis in _AXIS_NAMES if any(axis == key[0] for key in values)]
    spreads = [
        (f"spread over {_AXIS_NAMES[axis]}", _spread_texts(_spreads(values, measures, axis)))
        for axis in axes
    ]
    if len(axes) > 1:
        spreads.append(("spread over all", _spread_texts(whole)))
    first = group[0]
    return SensitivitySection(
        f"How far the protocol moves {first.generated.source} against {first.real.source}",
        measures,
        rows,
        spreads,
        [_sentence(measure, spread) for measure, spread in zip(measures, whole, strict=True)],
    )


def _spreads(
    values: Mapping[tuple[str, str], Mapping[str, float]], measures: Sequence[str], axis: str | None
) -> list[float]:
    """Return the largest minus the smallest number of each measure, as asked and on one axis.

    axis: None for all axes.
    """
    rows = [row for key, row in values.items() if axis is None or key[0] in ("asked", axis)]
    columns = [[row[measure] for row in rows if measure in row] for measure in measures]
    return [_spread(column) for column in columns]


def _spread(values: Sequence[float]) -> float:
    """Return the largest minus the smallest value; 0 where only rounding tells them apart."""
    spread = max(values) - min(values)
    return 0.0 if spread <= _ROUNDING * max(map(abs, values)) else spread


def _spread_texts(spreads: Sequence[float]) -> list[str]:
    return [f"{spread:.3g}" for spread in spreads]


def _sentence(measure: str, spread: float) -> str:
    """Say what a claimed improvement is worth."""
    if spread == 0:
        return f"{measure}: none of these choices moves it."
    return f"{measure}: an improvement smaller than {spread:.3g} may be the protocol's."
