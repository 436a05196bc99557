"""`raymetrics table`: results as one table, for a terminal, a spreadsheet or a paper."""

from __future__ import annotations

import click

from raymetrics.cli.options_and_errors import exit_with_code


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--as",
    "table_format",
    default="text",
    show_default=True,
    metavar="NAME",
    help="text, csv, markdown, latex or json.",
)
@exit_with_code
def table(files: tuple[str, ...], table_format: str) -> None:
    """Print the results of whole sets as one table, a row for each generated set.

    The best value of a column is marked, unless several sets share it.

    \b
    Example:
      raymetrics table results.jsonl --as latex
    """
    from raymetrics.reports.number_table import format_table, number_table
    from raymetrics.results import read_results

    results = [result for file in files for result in read_results(file)]
    click.echo(format_table(number_table(results), table_format), nl=False)
