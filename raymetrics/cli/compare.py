"""`raymetrics compare`: which of two generated sets is better, and whether the samples can tell."""

from __future__ import annotations

from typing import Any

import click

from raymetrics.cli.options_and_errors import (
    any_size_option,
    exit_with_code,
    parse_extractors,
    run_code_option,
    split_commas_nonempty,
)
from raymetrics.cli.resource_options import with_local_option
from raymetrics.cli.terminal import print_table


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--real", required=True, metavar="SIDE", help="The real samples, of both.")
@click.option(
    "--metrics",
    callback=split_commas_nonempty,
    default="fid,pr",
    show_default=True,
    metavar="NAMES",
    help="Which numbers, of those that have intervals.",
)
@click.option(
    "--extractor",
    "extractors",
    multiple=True,
    callback=parse_extractors,
    metavar="NAME[,NAME]",
    help="As of evaluate.",
)
@click.option(
    "--column",
    "columns",
    callback=split_commas_nonempty,
    metavar="NAME[,NAME]",
    help="In which columns. [default: all that the sets have]",
)
@click.option("--samples", metavar="N|IDS", help="As of evaluate; the same of A and of B.")
@click.option("--real-samples", metavar="N|IDS", help="The same of the real side alone.")
@click.option("--convention", metavar="NAME", help="As prdc, torch-fidelity, nvidia, ... does it.")
@click.option(
    "--set",
    "changes",
    metavar="NAME=VALUE[,...]",
    help="Change choices of the convention: kid_subset_size=500,k=5.",
)
@click.option(
    "--width",
    type=float,
    metavar="W",
    help="Also how many samples make the interval of the difference so wide.",
)
@click.option("--results", metavar="FILE", help="Add the numbers of both sets to this file.")
@any_size_option
@run_code_option
@exit_with_code
@with_local_option
def compare(
    first: str,
    second: str,
    changes: str | None,
    extractors: list[str],
    width: float | None,
    results: str | None,
    **request: Any,
) -> None:
    """Tell which of two generated sets is better, if the samples can tell.

    A and B are shards or sources, as evaluate takes them, with as many samples each. Both are
    measured against the same real samples. The difference has an interval of 95 % and the p-value
    of the test that it is 0, which count the sampling of the real and of the generated side.
    Generated samples of the same ids are paired.

    \b
    Examples:
      raymetrics compare shards/a shards/b --real shards/real
      raymetrics compare shards/a shards/b --real shards/real --metrics fid,kid --width 0.1
    """
    from raymetrics import results as result_files
    from raymetrics.generators.source_settings import distinguishing_names
    from raymetrics.metrics.conventions import parse_changes
    from raymetrics.reports.differences import differences_table
    from raymetrics.studies.compare import compare as run

    if results is not None:
        result_files.require_appendable(results)
    measured: list[result_files.Result] = []
    differences = run(
        first,
        second,
        changes=parse_changes(changes or ""),
        extractors=extractors or None,
        width=width,
        tell=measured.extend,
        **request,
    )
    if results is not None:
        result_files.append_results(measured, results)
    print_table(differences_table(differences, distinguishing_names([first, second]), width))
