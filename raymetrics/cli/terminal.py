"""What the verbs print."""

from __future__ import annotations

import click

from raymetrics.printable import escape_unprintable


def print_lines(*lines: str, err: bool = False) -> None:
    """Print each text as one line, on stderr if `err`; what cannot be printed is escaped, so that
    no name can begin a line of its own or give orders to the terminal."""
    for line in lines:
        click.echo(escape_unprintable(line), err=err)


def print_table(table: object) -> None:
    """Print a text of several lines, whose cells have no ends of lines."""
    print_lines(*str(table).split("\n"))
