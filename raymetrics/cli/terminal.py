"""Print lines and tables without letting texts forge lines."""

from __future__ import annotations

import click

from raymetrics.printable import escape_unprintable


def print_lines(*lines: str, err: bool = False) -> None:
    """Print each text as one line, on stderr if `err`.

    Unprintable characters are escaped, so that no name can begin a line or control the terminal.
    """
    for line in lines:
        click.echo(escape_unprintable(line), err=err)


def print_table(table: object) -> None:
    """Print a text of several lines; its cells must not contain line breaks."""
    print_lines(*str(table).split("\n"))
