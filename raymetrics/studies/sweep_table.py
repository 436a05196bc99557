"""The plan of a sweep: a table with one generated set a row.

    name,source,step,psi,samples
    run {step},runs/{step}.pkl,1000|2000,0.5|1,0-9999

source   what is to be opened; {step} is what the column `step` has in this row. Required.
name     what the row is called, with fields likewise; by default the source with its options.
samples  ids, and so seeds, as first-last: other draws are other ids. By default the sweep's.
Every other column that is not a field of the source is an option of it: psi=0.5 here. An empty
cell leaves the option out.

A cell of several values between bars stands for as many rows, the last column fastest: four here.
So a bar can be in no value; a recipe in Python, `module:callable`, which gives the rows as
dictionaries, has lists instead, and takes text as it is.
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
from raymetrics.shards.selection_files import parts_of
from raymetrics.shards.store import Store
from raymetrics.uris import require_no_secret
from raymetrics.user_code import FAILURES, Target, what_failed

NAME, SOURCE, SAMPLES = "name", "source", "samples"
BAR = "|"
MOST_ROWS = 100_000  # that one line of a plan stands for
FIELD = re.compile(r"\{([A-Za-z_]\w*)\}")  # not {000..009}, which is a pattern of files

Cells = Mapping[str, Sequence[str]]  # of every column its values


@dataclass(frozen=True)
class Row:
    """One generated set."""

    source: str  # with its options
    samples: str | None = None  # "0-999"
    said: Mapping[str, str] = field(default_factory=dict)  # by column, with its name filled in

    @property
    def ids(self) -> range | None:
        """Those that it says."""
        return sample_ranges.parse(self.samples) if self.samples else None

    @property
    def name(self) -> str:
        """Its own, or what it is made from."""
        ids = f", samples {self.samples}" if self.samples else ""
        return self.said.get(NAME) or f"{self.source}{ids}"


def planned(
    plan: str | Iterable[str | Mapping[str, object]], permission: Permission | None = None
) -> list[Row]:
    """The rows of a table at a path or an address, of a recipe "module:callable", or of
    dictionaries; a text among them is a source.

    RaymetricsError, with the place, for anything in the whole plan that is not as it should be:
    columns, fields, samples, two rows that are the same or have the same name. Whether there is
    such a source, and whether it has such an option, is not looked at. ProgramRefused for a table
    that names a program or another machine without permission; a recipe and dictionaries are the
    user's own code, which may.
    """
    if not isinstance(plan, str):
        rows = list(of_entries(plan, "the plan"))
    elif CALLABLE.fullmatch(plan):
        rows = list(of_entries(from_recipe(plan), plan))
    else:
        rows = list(of_table(plan))
        for row, where in rows:
            (permission or Permission()).require_source(row.source, where)
    if not rows:
        raise RaymetricsError(f"{plan or 'the plan'} has no rows; expected one generated set a row")
    refuse_alike(rows)
    return [row for row, _ in rows]


def of_table(plan: str) -> Iterator[tuple[Row, str]]:
    """The rows of a file, and where they stand."""
    header: list[str] = []
    for where, cells in lines_of(plan):
        if not header:
            header = cells
            check_columns(header, where)
        elif len(cells) != len(header):
            raise RaymetricsError(
                f"{where} has {len(cells)} cells, the header has {len(header)}; a cell with a "
                "comma stands in double quotes"
            )
        else:
            yield from rows_of({c: split(c, x) for c, x in zip(header, cells, strict=True)}, where)


def lines_of(plan: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of a file that are not empty, and where they stand."""
    folder, file = parts_of(plan)
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


def check_columns(header: Sequence[str], where: str) -> None:
    """RaymetricsError for columns that have no name or the same one, or if none is `source`."""
    wrong = [name for name in header if not name or header.count(name) > 1]
    if wrong:
        raise RaymetricsError(
            f"{where}: column {header.index(wrong[0]) + 1} is called {wrong[0]!r}; every column "
            "has a name of its own"
        )
    if SOURCE not in header:
        raise RaymetricsError(
            f"{where}: no column {SOURCE!r}, there are {', '.join(map(repr, header))}; the first "
            "line names the columns, with commas between them"
        )


def split(column: str, cell: str) -> list[str]:
    """ "0.5|1" -> ["0.5", "1"]; a name is one."""
    return [cell] if column == NAME else [part.strip() for part in cell.split(BAR)]


def from_recipe(plan: str) -> Iterable[object]:
    """What a user's function gives."""
    recipe = Target(plan, "plan", RaymetricsError).load()
    try:
        return list(recipe())
    except FAILURES as error:
        raise RaymetricsError(f"plan {plan!r} gives no rows: {what_failed(error)}") from error


def of_entries(plan: Iterable[object], name: str) -> Iterator[tuple[Row, str]]:
    """The rows of dictionaries, and of sources."""
    for number, entry in enumerate(plan, start=1):
        where = f"{name}, row {number}"
        if isinstance(entry, str):
            with placed(where):
                yield Row(require_no_secret(entry, RaymetricsError)), where
        elif isinstance(entry, Mapping):
            cells = {str(column): texts(value) for column, value in entry.items()}
            wrong = [column for column, values in cells.items() if values is None]
            if wrong:
                raise RaymetricsError(
                    f"{where}, column {wrong[0]!r}: {entry[wrong[0]]!r}; expected text, numbers, "
                    "None, or a list of these"
                )
            check_columns(list(cells), where)
            yield from rows_of({c: x for c, x in cells.items() if x is not None}, where)
        else:
            raise RaymetricsError(f"{where} is {type(entry).__name__}, expected a dictionary")


def texts(value: object) -> list[str] | None:
    """The values of a cell as text; None for what is no cell."""
    if value is None or isinstance(value, str | numbers.Real):
        return ["" if value is None else str(value)]
    if isinstance(value, range):
        return [sample_ranges.describe(value)] if value and value.step == 1 else None
    if not isinstance(value, list | tuple):
        return None
    parts = [texts(part) for part in value]
    return None if None in parts else [text for part in parts for text in part or ()]


def rows_of(cells: Cells, where: str) -> Iterator[tuple[Row, str]]:
    """All that a line of the plan stands for. RaymetricsError for more than `MOST_ROWS`."""
    count = math.prod(map(len, cells.values()))
    if count > MOST_ROWS:
        raise RaymetricsError(
            f"{where} stands for {count:.6g} rows, expected at most {MOST_ROWS}; put fewer values "
            "between its bars"
        )
    for values in itertools.product(*cells.values()):
        yield row_of(dict(zip(cells, values, strict=True)), where), where


def row_of(values: Mapping[str, str], where: str) -> Row:
    """One set, of one value in every column."""
    require_no_secrets(values, where)
    source = filled(SOURCE, values, where)
    if not source:
        raise RaymetricsError(f"{where}, column {SOURCE!r}: empty; expected what is to be opened")
    own = (NAME, SOURCE, SAMPLES, *FIELD.findall(values[SOURCE]))
    options = {column: value for column, value in values.items() if value and column not in own}
    samples = values.get(SAMPLES) or None
    if samples:
        with placed(f"{where}, column {SAMPLES!r}"):
            sample_ranges.parse(samples)
    said = {**values, **({NAME: filled(NAME, values, where)} if NAME in values else {})}
    require_no_secrets({**said, SOURCE: source}, where)
    return Row(with_options(source, options, where), samples, said)


def require_no_secrets(values: Mapping[str, str], where: str) -> None:
    """RaymetricsError for a cell with a secret in it, or in a column of secrets, as all of them are
    written into results."""
    for column, value in values.items():
        with placed(f"{where}, column {column!r}"):
            require_no_secret(value, RaymetricsError)
            if value:
                require_no_secret(f"?{column}={value}", RaymetricsError)


def filled(column: str, values: Mapping[str, str], where: str) -> str:
    """The text of a column with its fields. RaymetricsError for a field that has no value."""
    text = values[column]
    for name in FIELD.findall(text):
        if not values.get(name):
            raise RaymetricsError(
                f"{where}, column {column!r}: {text!r} has the field {{{name}}}, for which there "
                f"is nothing in a column {name!r}"
            )
    return FIELD.sub(lambda match: values[match[1]], text)


def with_options(source: str, options: Mapping[str, str], where: str) -> str:
    """The source with more options. RaymetricsError for one that it has already."""
    with placed(f"{where}, column {SOURCE!r}"):
        name, own = option_strings.split(source)
    for column in options:
        if column in own:
            raise RaymetricsError(
                f"{where}, column {column!r}: the source {source!r} has this option already; "
                "leave it out of one of the two"
            )
    return option_strings.join(name, {**own, **options}) if options else source


@contextmanager
def placed(where: str) -> Iterator[None]:
    """Says of what is wrong inside where it stands."""
    try:
        yield
    except RaymetricsError as error:
        raise RaymetricsError(f"{where}: {error}") from None


def refuse_alike(rows: Sequence[tuple[Row, str]]) -> None:
    """RaymetricsError for two rows that are the same set, or have the same name."""
    sets: dict[object, str] = {}
    names: dict[object, str] = {}
    for row, where in rows:
        what = (row.source, row.samples)
        if what in sets:
            raise RaymetricsError(
                f"{where}: {row.source}, with the same samples, stands in {sets[what]}; leave one "
                "of the two out"
            )
        if row.name in names:
            raise RaymetricsError(
                f"{where}: another row, in {names[row.name]}, is called {row.name!r} too; put into "
                "the name what tells them apart, as in 'run {psi}'"
            )
        sets[what] = names[row.name] = where
