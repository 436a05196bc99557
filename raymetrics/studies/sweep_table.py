"""The plan of a sweep: a table with one generated set a row.

    name,source,step,psi,samples
    run {step},runs/{step}.pkl,1000|2000,0.5|1,0-9999

source   the source to open; {step} is the value of the column `step` in this row. Required.
name     the name of the row, which may have fields too; by default the source with its options.
samples  ids, which are the seeds, as first-last. By default the samples of the sweep.
Every other column that is not a field of the source is an option of the source: psi=0.5 here. An
empty cell leaves the option out.

A cell with several values between bars stands for as many rows, the last column fastest: four rows
here. So no value can have a bar. A recipe in Python, `module:callable`, returns the rows as
dictionaries; it has lists in place of bars, and its text is taken as it is.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import numbers
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from raymetrics import option_strings, sample_ranges
from raymetrics.errors import RaymetricsError
from raymetrics.permissions import CALLABLE, Permission
from raymetrics.shards.selection_files import split_path
from raymetrics.shards.store import Store
from raymetrics.uris import require_no_secret
from raymetrics.user_code import USER_CODE_EXCEPTIONS, UserCallable, describe_exception

_NAME, _SOURCE, _SAMPLES = "name", "source", "samples"
_BAR = "|"
_MAX_ROWS = 100_000  # of one line of a plan
_FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")  # not {000..009}, which is a pattern of files

_Cells = Mapping[str, Sequence[str]]  # of every column its values


@dataclass(frozen=True)
class PlanRow:
    """One generated set."""

    source: str  # with its options
    samples: str | None = None  # "0-999"
    cells: Mapping[str, str] = field(default_factory=dict)  # by column, with its name filled in

    @property
    def ids(self) -> range | None:
        """The sample ids of the row, or None."""
        return sample_ranges.parse_range(self.samples) if self.samples else None

    @property
    def name(self) -> str:
        """The name of the row, or its source with the samples."""
        ids = f", samples {self.samples}" if self.samples else ""
        return self.cells.get(_NAME) or f"{self.source}{ids}"


def read_plan(
    plan: str | Iterable[str | Mapping[str, object]], permission: Permission | None = None
) -> list[PlanRow]:
    """Read the rows of a table, of a recipe "module:callable", or of dictionaries.

    plan: the path or address of a table (.csv), a recipe, or a sequence of dictionaries and texts;
    a text is a source.

    RaymetricsError, with the place in the plan, for wrong columns, fields or samples, and for two
    rows that are equal or have the same name. Sources and their options are not opened. A table
    that names a program or another machine needs permission, or ProgramRefused is raised; recipes
    and dictionaries are the user's own code and need none.
    """
    if not isinstance(plan, str):
        rows = list(_rows_from_entries(plan, "the plan"))
    elif CALLABLE.fullmatch(plan):
        rows = list(_rows_from_entries(_entries_from_function(plan), plan))
    else:
        rows = list(_rows_from_csv(plan))
        for row, where in rows:
            (permission or Permission()).require_source(row.source, where)
    if not rows:
        raise RaymetricsError(f"{plan or 'the plan'} has no rows; expected one generated set a row")
    _require_distinct_rows(rows)
    return [row for row, _ in rows]


def _rows_from_csv(plan: str) -> Iterator[tuple[PlanRow, str]]:
    """Yield the rows of a file, with their places."""
    header: list[str] = []
    for where, cells in _csv_lines(plan):
        if not header:
            header = cells
            _require_columns(header, where)
        elif len(cells) != len(header):
            raise RaymetricsError(
                f"{where} has {len(cells)} cells, the header has {len(header)}; a cell with a "
                "comma stands in double quotes"
            )
        else:
            yield from _expand_row(
                {c: _split_cell(c, x) for c, x in zip(header, cells, strict=True)}, where
            )


def _csv_lines(plan: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the lines of a file that are not empty, with their places."""
    folder, file = split_path(plan)
    data = Store(folder).read(file)
    if data is None:
        raise RaymetricsError(
            f"no plan at {plan}; expected a table (.csv) with a column 'source', or a function "
            "that gives the rows, as module:callable"
        )
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    except UnicodeDecodeError as error:
        raise RaymetricsError(f"{plan} is not text: {error}; expected a table (.csv)") from None
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield f"{plan}, line {reader.line_num}", [cell.strip() for cell in cells]
    except csv.Error as error:
        raise RaymetricsError(f"{plan}, line {reader.line_num}: {error}") from None


def _require_columns(header: Sequence[str], where: str) -> None:
    """Raise RaymetricsError for columns without a name or of one name, or without `source`."""
    wrong = [name for name in header if not name or header.count(name) > 1]
    if wrong:
        raise RaymetricsError(
            f"{where}: column {header.index(wrong[0]) + 1} is called {wrong[0]!r}; every column "
            "has a name of its own"
        )
    if _SOURCE not in header:
        raise RaymetricsError(
            f"{where}: no column {_SOURCE!r}, there are {', '.join(map(repr, header))}; the first "
            "line names the columns, with commas between them"
        )


def _split_cell(column: str, cell: str) -> list[str]:
    """Split "0.5|1" into ["0.5", "1"]; a name is not split."""
    return [cell] if column == _NAME else [part.strip() for part in cell.split(_BAR)]


def _entries_from_function(plan: str) -> Iterable[object]:
    """Return the entries that a user's function returns."""
    recipe = UserCallable(plan, "plan", RaymetricsError).load()
    try:
        return list(recipe())
    except USER_CODE_EXCEPTIONS as error:
        raise RaymetricsError(
            f"plan {plan!r} gives no rows: {describe_exception(error)}"
        ) from error


def _rows_from_entries(plan: Iterable[object], name: str) -> Iterator[tuple[PlanRow, str]]:
    """Yield the rows of dictionaries and of sources, with their places."""
    for number, entry in enumerate(plan, start=1):
        where = f"{name}, row {number}"
        if isinstance(entry, str):
            with _prefix_errors(where):
                yield PlanRow(require_no_secret(entry, RaymetricsError)), where
        elif isinstance(entry, Mapping):
            cells = {str(column): _cell_values(value) for column, value in entry.items()}
            wrong = [column for column, values in cells.items() if values is None]
            if wrong:
                raise RaymetricsError(
                    f"{where}, column {wrong[0]!r}: {entry[wrong[0]]!r}; expected text, numbers, "
                    "None, or a list of these"
                )
            _require_columns(list(cells), where)
            yield from _expand_row({c: x for c, x in cells.items() if x is not None}, where)
        else:
            raise RaymetricsError(f"{where} is {type(entry).__name__}, expected a dictionary")


def _cell_values(value: object) -> list[str] | None:
    """Return the values of a cell as text; None for a value of a wrong type."""
    if value is None or isinstance(value, str | numbers.Real):
        return ["" if value is None else str(value)]
    if isinstance(value, range):
        return [sample_ranges.format_range(value)] if value and value.step == 1 else None
    if not isinstance(value, list | tuple):
        return None
    parts = [_cell_values(part) for part in value]
    return None if None in parts else [text for part in parts for text in part or ()]


def _expand_row(cells: _Cells, where: str) -> Iterator[tuple[PlanRow, str]]:
    """Yield all rows of a line of the plan. RaymetricsError for more than `_MAX_ROWS`."""
    count = math.prod(map(len, cells.values()))
    if count > _MAX_ROWS:
        raise RaymetricsError(
            f"{where} stands for {count:.6g} rows, expected at most {_MAX_ROWS}; put fewer values "
            "between its bars"
        )
    for values in itertools.product(*cells.values()):
        yield _make_row(dict(zip(cells, values, strict=True)), where), where


def _make_row(values: Mapping[str, str], where: str) -> PlanRow:
    """Make the row of one value in every column."""
    _require_no_secrets(values, where)
    source = _fill_fields(_SOURCE, values, where)
    if not source:
        raise RaymetricsError(f"{where}, column {_SOURCE!r}: empty; expected what is to be opened")
    used_columns = (_NAME, _SOURCE, _SAMPLES, *_FIELD.findall(values[_SOURCE]))
    options = {
        column: value for column, value in values.items() if value and column not in used_columns
    }
    samples = values.get(_SAMPLES) or None
    if samples:
        with _prefix_errors(f"{where}, column {_SAMPLES!r}"):
            sample_ranges.parse_range(samples)
    cells = {**values, **({_NAME: _fill_fields(_NAME, values, where)} if _NAME in values else {})}
    _require_no_secrets({**cells, _SOURCE: source}, where)
    return PlanRow(_add_options(source, options, where), samples, cells)


def _require_no_secrets(values: Mapping[str, str], where: str) -> None:
    """Raise RaymetricsError for a cell with a secret, or in a column of secrets.

    All cells are written into results.
    """
    for column, value in values.items():
        with _prefix_errors(f"{where}, column {column!r}"):
            require_no_secret(value, RaymetricsError)
            if value:
                require_no_secret(f"?{column}={value}", RaymetricsError)


def _fill_fields(column: str, values: Mapping[str, str], where: str) -> str:
    """Fill the fields of a column in. RaymetricsError for a field without a value."""
    text = values[column]
    for name in _FIELD.findall(text):
        if not values.get(name):
            raise RaymetricsError(
                f"{where}, column {column!r}: {text!r} has the field {{{name}}}, for which there "
                f"is nothing in a column {name!r}"
            )
    return _FIELD.sub(lambda match: values[match[1]], text)


def _add_options(source: str, options: Mapping[str, str], where: str) -> str:
    """Add options to a source. RaymetricsError for an option that it has already."""
    with _prefix_errors(f"{where}, column {_SOURCE!r}"):
        name, source_options = option_strings.parse_options(source)
    for column in options:
        if column in source_options:
            raise RaymetricsError(
                f"{where}, column {column!r}: the source {source!r} has this option already; "
                "leave it out of one of the two"
            )
    return option_strings.format_options(name, {**source_options, **options}) if options else source


@contextmanager
def _prefix_errors(where: str) -> Iterator[None]:
    """Put the place before the message of an error in the block."""
    try:
        yield
    except RaymetricsError as error:
        raise RaymetricsError(f"{where}: {error}") from None


def _require_distinct_rows(rows: Sequence[tuple[PlanRow, str]]) -> None:
    """Raise RaymetricsError for two rows of the same set, or of the same name."""
    sets: dict[object, str] = {}
    names: dict[object, str] = {}
    for row, where in rows:
        source_and_samples = (row.source, row.samples)
        if source_and_samples in sets:
            raise RaymetricsError(
                f"{where}: {row.source}, with the same samples, stands in "
                f"{sets[source_and_samples]}; leave one of the two out"
            )
        if row.name in names:
            raise RaymetricsError(
                f"{where}: another row, in {names[row.name]}, is called {row.name!r} too; put into "
                "the name what tells them apart, as in 'run {psi}'"
            )
        sets[source_and_samples] = names[row.name] = where
