"""All numbers as one table: a row for each generated set, a column for each measure.

The same table is printed on a terminal, stands on the page, and is written as CSV, Markdown, LaTeX
and JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from raymetrics.errors import RaymetricsError
from raymetrics.generators.source_settings import distinguishing_names
from raymetrics.printable import escape_unprintable
from raymetrics.reports.terminal import align_columns, format_value
from raymetrics.results import Result

_BEST_MARK = "*"
_ARROWS = {"lower": "↓", "higher": "↑"}
_LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


@dataclass(frozen=True)
class Measure:
    """A column: the name of a measure, and which of its values are better."""

    name: str
    better: str


@dataclass(frozen=True)
class NumberCell:
    """A value with its spread and interval; best: whether it is the only best one of its column."""

    value: float
    spread: float | None
    best: bool = False
    interval: tuple[float, float] | None = None  # low and high

    @property
    def text(self) -> str:
        """The value in five digits, its spread and its interval."""
        bounds = dict(zip(("low", "high"), self.interval, strict=True)) if self.interval else None
        return format_value(self.value, self.spread, bounds)


@dataclass(frozen=True)
class NumberRow:
    """A generated set, with its numbers by column; None where it has none."""

    name: str
    real: str
    cells: tuple[NumberCell | None, ...]


@dataclass(frozen=True)
class NumberTable:
    """The numbers of whole sets, the newest of repeated ones."""

    measures: tuple[Measure, ...]
    rows: tuple[NumberRow, ...]

    def __str__(self) -> str:
        """Return the table for a terminal, with a mark behind the best value of a column."""
        header = ["", *(f"{m.name} {_ARROWS[m.better]}" for m in self.measures)]
        lines = [header, *([row.name, *map(_marked_text, row.cells)] for row in self.rows)]
        has_best = any(cell and cell.best for row in self.rows for cell in row.cells)
        note = f"\n\n{_BEST_MARK} the best of its column" if has_best else ""
        return align_columns(lines) + note


def _marked_text(cell: NumberCell | None) -> str:
    return "" if cell is None else cell.text + _BEST_MARK * cell.best


def number_table(results: Iterable[Result]) -> NumberTable:
    """Return the table of the results of whole sets; of equal ones the newest.

    Numbers of single labels, of draws and of other protocols are left out; numbers over all labels,
    as of the worst one, are not. Values are marked as the
    best of a column only among sets that were compared with the same real samples.
    """
    whole = [
        result
        for result in results
        if (not result.subset or "labels" in result.subset) and not result.is_variation
    ]
    values: dict[tuple[object, object], dict[Measure, Result]] = {}
    for result in whole:
        key = (result.real.identity, result.generated.identity)
        values.setdefault(key, {})[Measure(_column_name(result, whole), result.better)] = result
    if not values:
        return NumberTable((), ())
    measures = tuple(dict.fromkeys(m for by_measure in values.values() for m in by_measure))
    groups = list(values.values())
    names = distinguishing_names([_any_result(group).generated.source for group in groups])
    rows = [
        NumberRow(
            f"{name}{_seed_suffix(_any_result(group))}",
            _any_result(group).real.source,
            tuple(_make_cell(group, measure, groups) for measure in measures),
        )
        for name, group in zip(names, groups, strict=True)
    ]
    return NumberTable(measures, tuple(rows))


def _any_result(group: Mapping[Measure, Result]) -> Result:
    return next(iter(group.values()))


def _seed_suffix(result: Result) -> str:
    """Return ", seed 3" or ", mean of seeds 0, 1" where samples were chosen by several seeds."""
    seed = result.convention.get("random_ids")
    return "" if seed is None else f", seed {seed}" if isinstance(seed, int) else f", {seed}"


def _column_name(result: Result, whole: Sequence[Result]) -> str:
    """Return the name of the measure, with its k where there are several."""
    ks = {r.convention.get("k") for r in whole if r.measure_name == result.measure_name}
    return (
        f"{result.measure_name}, k = {result.convention['k']}"
        if len(ks) > 1
        else (result.measure_name)
    )


def _make_cell(
    group: Mapping[Measure, Result], measure: Measure, groups: Sequence[Mapping[Measure, Result]]
) -> NumberCell | None:
    result = group.get(measure)
    if result is None:
        return None
    rivals = [
        rival.value
        for other_group in groups
        if (rival := other_group.get(measure)) is not None
        and rival.real.identity == result.real.identity
    ]
    best = min(rivals) if measure.better == "lower" else max(rivals)
    is_best = len(rivals) > 1 and result.value == best and rivals.count(best) == 1
    interval = (result.interval["low"], result.interval["high"]) if result.interval else None
    return NumberCell(result.value, result.spread, is_best, interval)


def to_csv(table: NumberTable) -> str:
    """Return the table as CSV in full precision: columns for every measure.

    A measure has further ones for its deviation and its interval, if any of its values has these.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    fields = [_csv_fields([row.cells[i] for row in table.rows]) for i in range(len(table.measures))]
    suffixes = {"value": "", "deviation": " (deviation)", "low": " (low)", "high": " (high)"}
    header = [
        f"{measure.name}{suffixes[name]}"
        for measure, names in zip(table.measures, fields, strict=True)
        for name in names
    ]
    writer.writerow(["generated", "real", *header])
    for row in table.rows:
        numbers = [
            _cell_numbers(cell).get(name)
            for cell, names in zip(row.cells, fields, strict=True)
            for name in names
        ]
        texts = ["" if number is None else repr(number) for number in numbers]
        writer.writerow([row.name, row.real, *texts])
    return buffer.getvalue()


def _csv_fields(column: Sequence[NumberCell | None]) -> list[str]:
    """Return the names of what any cell of a column holds; the value always."""
    held = {name for cell in column for name, n in _cell_numbers(cell).items() if n is not None}
    return [name for name in ("value", "deviation", "low", "high") if name in held | {"value"}]


def _cell_numbers(cell: NumberCell | None) -> dict[str, float | None]:
    """Return the numbers of a cell by name."""
    if cell is None:
        return {}
    low, high = cell.interval or (None, None)
    return {"value": cell.value, "deviation": cell.spread, "low": low, "high": high}


def to_markdown(table: NumberTable) -> str:
    """Return the table as Markdown, with the best values in bold."""
    header = ["", *(f"{m.name} {_ARROWS[m.better]}" for m in table.measures)]
    lines = [header, ["---"] * len(header)]
    for row in table.rows:
        texts = [
            "" if cell is None else f"**{cell.text}**" if cell.best else cell.text
            for cell in row.cells
        ]
        lines.append([row.name, *texts])
    escaped = ([text.replace("|", "\\|") for text in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"


def to_latex(table: NumberTable) -> str:
    """Return the table as a LaTeX tabular (booktabs), with the best values in bold."""
    arrows = {"lower": r"$\downarrow$", "higher": r"$\uparrow$"}
    header = ["", *(f"{_escape_latex(m.name)} {arrows[m.better]}" for m in table.measures)]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(table.measures)}}}",
        r"\toprule",
        f"{' & '.join(header)} \\\\",
        r"\midrule",
    ]
    for row in table.rows:
        texts = [_escape_latex(row.name), *map(_latex_cell, row.cells)]
        lines.append(f"{' & '.join(texts)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_cell(cell: NumberCell | None) -> str:
    if cell is None:
        return ""
    text = cell.text.replace("±", r"$\pm$")
    return rf"\textbf{{{text}}}" if cell.best else text


def _escape_latex(text: str) -> str:
    return "".join(_LATEX_ESCAPES.get(letter, letter) for letter in escape_unprintable(text))


def to_json(table: NumberTable) -> str:
    """Return the table as JSON: a list of objects, one for each generated set."""
    rows = [
        {
            "generated": row.name,
            "real": row.real,
            **{
                measure.name: {
                    "value": cell.value,
                    "deviation": cell.spread,
                    "best": cell.best,
                    **({"interval": cell.interval} if cell.interval else {}),
                }
                for measure, cell in zip(table.measures, row.cells, strict=True)
                if cell is not None
            },
        }
        for row in table.rows
    ]
    return json.dumps(rows, indent=1) + "\n"


FORMATS: Mapping[str, Callable[[NumberTable], str]] = {
    "text": lambda table: f"{table}\n",
    "csv": to_csv,
    "markdown": to_markdown,
    "latex": to_latex,
    "json": to_json,
}


def format_table(table: NumberTable, name: str) -> str:
    """Return the table in a format of FORMATS. RaymetricsError for an unknown one."""
    if name not in FORMATS:
        raise RaymetricsError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name](table)
