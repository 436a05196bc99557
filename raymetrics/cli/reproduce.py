"""`raymetrics reproduce`: the tables and figures of the two papers, with what they claim."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from raymetrics.cli.options_and_errors import (
    EXIT_TEMPORARY,
    exit_with_code,
    run_code_option,
)
from raymetrics.cli.terminal import print_lines, print_table
from raymetrics.errors import RaymetricsError, TemporaryFailure
from raymetrics.files import require_writable_file

if TYPE_CHECKING:
    from raymetrics.studies.papers.reproduce import ItemOutcome

_EXIT_CLAIM_FAILS = 3  # a claim fails, or an item did not run
_EXIT_SOME_FAILED = 3  # of a sweep: rows failed, the others are there
_FIRST_SIGNAL_CODE = 128


@click.command()
@click.argument("item", required=False)
@click.option("--to", metavar="DIR", help="Where shards, numbers and the page go.")
@click.option("--inputs", "inputs_file", metavar="FILE", help="Names data sets and generators.")
@click.option("--dataset", metavar="NAME", help="ffhq, lsun_cat, ... [default: the item's first]")
@click.option("--mini", is_flag=True, help="With the parts of the demo in place of the papers'.")
@click.option("--list", "list_items", is_flag=True, help="List the items.")
@click.option("--inputs-template", is_flag=True, help="Print a file of inputs to be filled in.")
@run_code_option
@exit_with_code
def reproduce(
    item: str | None,
    to: str | None,
    inputs_file: str | None,
    dataset: str | None,
    mini: bool,
    list_items: bool,
    inputs_template: bool,
    run_code: bool,
) -> None:
    """Make a table or figure of the papers again, and check what they claim of it.

    ITEM is one of --list, or all. Its steps are commands of raymetrics; what several items share is
    made once, and what is there is not made twice. Every number stands beside the paper's, and is
    compared with it where network, counts, draw and convention are the paper's; otherwise the table
    says which is not.

    \b
    index.html     every item: table, figure, and whether the claims of its caption hold
    MINI|DATASET/  what the steps wrote

    The exit code is 3 if a claim fails, or if an item lacks an input. A claim that fails with the
    parts of the demo is shown as failing, with the reason if there is one.

    \b
    Examples:
      raymetrics reproduce --list
      raymetrics reproduce p1-fig4 --mini --to reproduction
      raymetrics reproduce --inputs-template > inputs.toml
      raymetrics reproduce p2-table2 --inputs inputs.toml --dataset ffhq --to reproduction
    """
    from raymetrics.studies.papers.inputs import template_text
    from raymetrics.studies.papers.recipes import load_recipes

    if list_items:
        print_lines(*(f"{name:12}{r.title}" for name, r in load_recipes().items()))
        return
    if inputs_template:
        print_table(template_text())
        return
    if item is None or to is None:
        raise RaymetricsError("reproduce takes an item and --to DIR; --list lists the items")
    _run(item, to, inputs_file, dataset, mini, run_code)


def _run(
    item: str, to: str, inputs_file: str | None, dataset: str | None, mini: bool, run_code: bool
) -> None:
    """Run the items, print what came of each, write the page, and exit with a code."""
    from raymetrics.distributed.session import shared_session
    from raymetrics.permissions import Permission
    from raymetrics.studies.papers.page import write_reproduction_page
    from raymetrics.studies.papers.reproduce import reproduce as run

    require_writable_file(f"{to}/index.html")
    permission = Permission(run_code)
    with shared_session():
        outcomes, earlier = run(
            item, to=to, run_verb=_run_verb, inputs_file=inputs_file, dataset=dataset, mini=mini,
            permission=permission, tell=_print_outcome,
        )  # fmt: skip
    page = write_reproduction_page([*outcomes, *earlier], to, permission)
    print_lines("", f"page    {page}")
    failing = [outcome.recipe.name for outcome in outcomes if outcome.failed]
    if failing:
        print_lines(f"not as the papers claim, or not run: {', '.join(failing)}")
        sys.exit(_EXIT_CLAIM_FAILS)


def _run_verb(words: Sequence[str]) -> None:
    """Run a command of raymetrics in this process.

    Raise TemporaryFailure or RaymetricsError if it fails, after it has printed why.
    """
    from raymetrics.cli import main

    print_lines("", f"raymetrics {shlex.join(words)}", err=True)
    try:
        main(list(words), standalone_mode=False)
    except click.ClickException as error:
        raise RaymetricsError(f"raymetrics {words[0]}: {error.format_message()}") from None
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        if code == EXIT_TEMPORARY:
            raise TemporaryFailure(f"raymetrics {words[0]} was stopped; run this again") from None
        if code >= _FIRST_SIGNAL_CODE:
            raise
        if code not in (0, _EXIT_SOME_FAILED):
            raise RaymetricsError(f"raymetrics {words[0]} failed, see above") from None


def _print_outcome(outcome: ItemOutcome) -> None:
    """Print the numbers of an item beside the paper's, and its claims."""
    from raymetrics.reports.terminal import align_columns

    print_lines("", f"{outcome.recipe.name}  {outcome.recipe.title}  ({outcome.dataset})")
    if outcome.problem is not None:
        print_lines(f"  did not run: {outcome.problem}")
        return
    if outcome.cells:
        rows = [["", "paper", "ours", "deviations", "same protocol?"]]
        for cell in outcome.cells:
            paper = "" if cell.paper is None else str(cell.paper)
            difference = "" if cell.difference is None else f"{cell.difference:+.1f}"
            rows.append([cell.name, paper, str(cell.ours), difference, cell.protocol_text])
        print_table(align_columns(rows))
    for checked in outcome.claims:
        found = f" ({checked.finding.found})" if checked.finding else ""
        print_lines(f"  {checked.verdict}: {checked.claim.sentence}{found} {checked.why}".rstrip())
